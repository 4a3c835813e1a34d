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

if TRAIN:
    SEARCH = "<results>/theory/search.json" if "search" in TRAIN else []

    rule search_emulator:
        input:
            CHUNKS,
        output:
            "<results>/theory/search.json",
        log:
            "<logs>/search_emulator.log",
        benchmark:
            "<benchmarks>/search_emulator.jsonl"
        conda:
            ENVIRONMENT
        threads: 4
        params:
            fit=as_json(TRAIN["fit"]),
            candidates=as_json(TRAIN.get("search", [])),
            held_out=TRAIN["held_out"],
            code=code("search_emulator"),
        shell:
            "python -m pipeline.search_emulator --chunks {input} --fit {params.fit:q}"
            " --candidates {params.candidates:q} --held-out {params.held_out} --output {output} > {log} 2>&1"

    rule plot_search:
        input:
            "<results>/theory/search.json",
        output:
            png="<results>/figures/emulator_search.png",
            pdf="<results>/figures/emulator_search.pdf",
            csv="<results>/figures/emulator_search.csv",
        log:
            "<logs>/plot_search.log",
        benchmark:
            "<benchmarks>/plot_search.jsonl"
        conda:
            ENVIRONMENT
        params:
            code=code("plot_search"),
        shell:
            "stem={output.png}; python -m pipeline.plot_search --search {input}"
            " --output ${{stem%.png}} > {log} 2>&1"

    rule train_emulator:
        input:
            chunks=CHUNKS,
            search=SEARCH,
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
            search=lambda wildcards, input: f"--search {input.search}" if SEARCH else "",
            held_out=TRAIN["held_out"],
            code=code("train_emulator"),
        shell:
            "python -m pipeline.train_emulator --chunks {input.chunks} --fit {params.fit:q} {params.search}"
            " --held-out {params.held_out} --output $(dirname {output.manifest}) > {log} 2>&1"
