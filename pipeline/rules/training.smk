# Training: the search for the polynomials, the emulator, networks beside it, and its extensions.

EXTENDED = TRAIN.get("extensions", {})
SEARCH = "<results>/theory/search.json" if "search" in TRAIN else []
TRAINING_FIGURES = [
    f"<results>/figures/emulator_{figure}.png"
    for key, figure in (("search", "search"), ("network", "comparison"))
    if key in TRAIN
]


def extension_chunks(wildcards):
    design = EXTENDED[wildcards.extension]
    chunks = -(-design["n_backgrounds"] // design["per_chunk"])
    return expand(
        f"<results>/theory/extensions/{wildcards.extension}/chunk_{{chunk}}.npz",
        chunk=range(chunks),
    )


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
        png=report(
            "<results>/figures/emulator_search.png",
            caption="../report/emulator_search.rst",
            category="Emulator",
            labels={"figure": "search and learning curve"},
        ),
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


rule compare_emulators:
    input:
        chunks=CHUNKS,
        manifest=MANIFEST,
    output:
        "<results>/theory/emulator_comparison.json",
    log:
        "<logs>/compare_emulators.log",
    benchmark:
        "<benchmarks>/compare_emulators.jsonl"
    conda:
        ENVIRONMENT
    threads: 4
    params:
        network=as_json(TRAIN.get("network", {})),
        held_out=TRAIN["held_out"],
        code=code("compare_emulators"),
    shell:
        "python -m pipeline.compare_emulators --emulator $(dirname {input.manifest}) --chunks {input.chunks}"
        " --network {params.network:q} --held-out {params.held_out} --output {output} > {log} 2>&1"


rule plot_emulators:
    input:
        "<results>/theory/emulator_comparison.json",
    output:
        png=report(
            "<results>/figures/emulator_comparison.png",
            caption="../report/emulator_comparison.rst",
            category="Emulator",
            labels={"figure": "polynomials and networks"},
        ),
        pdf="<results>/figures/emulator_comparison.pdf",
        csv="<results>/figures/emulator_comparison.csv",
    log:
        "<logs>/plot_emulators.log",
    benchmark:
        "<benchmarks>/plot_emulators.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=code("plot_emulators"),
    shell:
        "stem={output.png}; python -m pipeline.plot_emulators --comparison {input}"
        " --output ${{stem%.png}} > {log} 2>&1"


wildcard_constraints:
    extension="|".join(EXTENDED) or "none",


rule compute_extension:
    output:
        "<results>/theory/extensions/{extension}/chunk_{chunk}.npz",
    log:
        "<logs>/compute_extension/{extension}_{chunk}.log",
    benchmark:
        "<benchmarks>/compute_extension/{extension}_{chunk}.jsonl"
    conda:
        ENVIRONMENT
    params:
        design=lambda wc: as_json(EXTENDED[wc.extension]),
        camb=as_json(config["theory"]["camb"]),
        code=code("compute_theory"),
    shell:
        "python -m pipeline.compute_theory --design {params.design:q} --camb {params.camb:q}"
        " --chunk {wildcards.chunk} --output {output} > {log} 2>&1"


rule compare_finetuning:
    input:
        manifest=MANIFEST,
        chunks=extension_chunks,
    output:
        json="<results>/theory/finetuning_{extension}.json",
        png="<results>/figures/finetuning_{extension}.png",
        pdf="<results>/figures/finetuning_{extension}.pdf",
        csv="<results>/figures/finetuning_{extension}.csv",
    log:
        "<logs>/compare_finetuning/{extension}.log",
    benchmark:
        "<benchmarks>/compare_finetuning/{extension}.jsonl"
    conda:
        ENVIRONMENT
    threads: 4
    params:
        held_out=TRAIN["held_out"],
        code=code("compare_finetuning"),
    shell:
        "stem={output.png}; python -m pipeline.compare_finetuning --base $(dirname {input.manifest})"
        " --chunks {input.chunks} --held-out {params.held_out} --table {output.json}"
        " --output ${{stem%.png}} > {log} 2>&1"


rule finetune_emulator:
    input:
        manifest=MANIFEST,
        chunks=extension_chunks,
    output:
        manifest="<results>/theory/emulator_{extension}/manifest.json",
        arrays="<results>/theory/emulator_{extension}/arrays.safetensors",
    log:
        "<logs>/finetune_emulator/{extension}.log",
    benchmark:
        "<benchmarks>/finetune_emulator/{extension}.jsonl"
    conda:
        ENVIRONMENT
    params:
        held_out=TRAIN["held_out"],
        code=code("finetune_emulator"),
    shell:
        "python -m pipeline.finetune_emulator --base $(dirname {input.manifest}) --chunks {input.chunks}"
        " --held-out {params.held_out} --output $(dirname {output.manifest}) > {log} 2>&1"


rule extensions:
    input:
        expand("<results>/figures/finetuning_{extension}.png", extension=EXTENDED),
        expand(
            "<results>/theory/emulator_{extension}/manifest.json",
            extension=EXTENDED,
        ),


rule training:
    input:
        TRAINING_FIGURES,
