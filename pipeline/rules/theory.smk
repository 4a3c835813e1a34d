# Theory: the fiducial spectra, the emulator (shipped, or trained here from CAMB runs) and its errors.

EMULATOR = config["theory"]["emulator"]
TRAIN = EMULATOR.get("train")
CHECKED_FIT = EMULATOR["check"]["fit"]

if TRAIN:
    _per_chunk = TRAIN["design"]["per_chunk"]
    N_CHUNKS = -(-TRAIN["design"]["n_backgrounds"] // _per_chunk)
    BUNDLE = "<results>/theory/emulator"
    MANIFEST = f"{BUNDLE}/manifest.json"
else:
    N_CHUNKS = 0
    BUNDLE = shipped_or_own_bundle(EMULATOR["bundle"])
    MANIFEST = f"{BUNDLE}/manifest.json"
    refuse_other_physics(read_json(MANIFEST)["settings"]["trained_on"]["camb"])


check_configuration(TRAIN["design"]["box"] if TRAIN else read_json(MANIFEST)["box"])


rule compute_fiducial:
    output:
        "<results>/theory/fiducial.txt",
    log:
        "<logs>/compute_fiducial.log",
    benchmark:
        "<benchmarks>/compute_fiducial.jsonl"
    conda:
        ENVIRONMENT
    params:
        parameters=as_json(config["theory"]["fiducial"]),
        camb=as_json(config["theory"]["camb"]),
        code=code("compute_fiducial"),
    shell:
        "python -m pipeline.compute_fiducial --parameters {params.parameters:q} --camb {params.camb:q}"
        " --output {output} > {log} 2>&1"


rule compute_theory:
    output:
        "<results>/theory/training/chunk_{chunk}.npz",
    log:
        "<logs>/compute_theory/{chunk}.log",
    benchmark:
        "<benchmarks>/compute_theory/{chunk}.jsonl"
    conda:
        ENVIRONMENT
    params:
        design=as_json(TRAIN["design"] if TRAIN else {}),
        camb=as_json(config["theory"]["camb"]),
        code=code("compute_theory"),
    shell:
        "python -m pipeline.compute_theory --design {params.design:q} --camb {params.camb:q}"
        " --chunk {wildcards.chunk} --output {output} > {log} 2>&1"


if TRAIN:

    rule train_emulator:
        input:
            expand("<results>/theory/training/chunk_{chunk}.npz", chunk=range(N_CHUNKS)),
        output:
            manifest="<results>/theory/emulator/manifest.json",
            arrays="<results>/theory/emulator/arrays.safetensors",
        log:
            "<logs>/train_emulator.log",
        benchmark:
            "<benchmarks>/train_emulator.jsonl"
        conda:
            ENVIRONMENT
        threads: 4
        params:
            fit=as_json(TRAIN["fit"]),
            held_out=TRAIN["held_out"],
            code=code("train_emulator"),
        shell:
            "python -m pipeline.train_emulator --chunks {input} --fit {params.fit:q}"
            " --held-out {params.held_out} --output $(dirname {output.manifest}) > {log} 2>&1"


EXACT_PARTS = 2


rule compute_exact:
    input:
        samples=f"<results>/chains/{CHECKED_FIT}.samples.h5",
        manifest=MANIFEST,
    output:
        "<results>/theory/exact/part_{part}.npz",
    log:
        "<logs>/compute_exact/{part}.log",
    benchmark:
        "<benchmarks>/compute_exact/{part}.jsonl"
    conda:
        ENVIRONMENT
    params:
        draws=EMULATOR["check"]["draws"],
        parts=EXACT_PARTS,
        seed=SEED,
        code=code("compute_exact"),
    shell:
        "python -m pipeline.compute_exact --samples {input.samples} --emulator $(dirname {input.manifest})"
        " --draws {params.draws} --part {wildcards.part} {params.parts} --seed {params.seed}"
        " --output {output} > {log} 2>&1"


rule check_emulator:
    input:
        exact=expand("<results>/theory/exact/part_{part}.npz", part=range(EXACT_PARTS)),
        manifest=MANIFEST,
        own=own_spectra(CHECKED_FIT),
    output:
        checks="<results>/checks/emulator.json",
        errors="<results>/theory/emulator_errors.json",
    log:
        "<logs>/check_emulator.log",
    benchmark:
        "<benchmarks>/check_emulator.jsonl"
    conda:
        ENVIRONMENT
    params:
        fit=as_json(FITS[CHECKED_FIT]),
        marks=as_json(EMULATOR["check"]),
        code=code("check_emulator"),
    shell:
        "python -m pipeline.check_emulator --emulator $(dirname {input.manifest}) --exact {input.exact}"
        " --fit {params.fit:q} --marks {params.marks:q} --errors {output.errors} --output {output.checks}"
        " > {log} 2>&1"
