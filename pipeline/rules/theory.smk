# Theory: the fiducial spectra, the emulator (shipped, or trained here from CAMB runs) and its errors.

EMULATOR = config["theory"]["emulator"]
TRAIN = EMULATOR.get("train")

if TRAIN:
    _per_chunk = TRAIN["design"]["per_chunk"]
    _backgrounds = TRAIN["design"]["n_backgrounds"] + TRAIN["design"].get("n_focus", 0)
    N_CHUNKS = -(-_backgrounds // _per_chunk)
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


CHUNKS = expand("<results>/theory/training/chunk_{chunk}.npz", chunk=range(N_CHUNKS))
TRAINING_FIGURES = []

if TRAIN:

    include: "training.smk"
