# Training: the search for the polynomials, the emulator, networks beside it, and its extensions.


LEARNT = SECTIONS.path("train.fit", PLAN.train["fit"])
SEARCH = [f"{PLAN.folder}/theory/search.json"] if "search" in PLAN.train else []
DESIGNS = {
    name: SECTIONS.path(f"design.{name}", design)
    for name, design in PLAN.extensions.items()
}


def extension_chunks(wildcards):
    design = PLAN.extensions[wildcards.extension]
    chunks = -(-design["n_backgrounds"] // design["per_chunk"])
    folder = f"{PLAN.folder}/theory/extensions/{wildcards.extension}"
    return [f"{folder}/chunk_{i}.npz" for i in range(chunks)]


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
        fit=LEARNT,
        candidates=SECTIONS.path("search", PLAN.train.get("search", [])),
        held_out=PLAN.train["held_out"],
        checkpoint=kept("search"),
        code=code("search_emulator"),
    shell:
        "python -m pipeline search_emulator --chunks {input:q} --fit={params.fit:q} --candidates={params.candidates:q}"
        " --held-out={params.held_out:q} --code={params.code:q} --checkpoint={params.checkpoint:q} --output={output:q} > {log:q} 2>&1"


rule plot_search:
    input:
        "<results>/theory/search.json",
    output:
        **figure(
            "emulator_search",
            "emulator_search",
            "Emulator",
            "search and learning curve",
        ),
    log:
        "<logs>/plot_search.log",
    benchmark:
        "<benchmarks>/plot_search.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=code("plot_search"),
    shell:
        "python -m pipeline plot_search --search={input:q} --output={output.png:q} > {log:q} 2>&1"


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
        fit=LEARNT,
        search=[w for path in SEARCH for w in words(search=path)],
        held_out=PLAN.train["held_out"],
        design=DESIGN,
        camb=CAMB,
        checkpoints=[kept(f"training.chunk_{i}") for i in range(PLAN.n_chunks)],
        code=code("train_emulator"),
    shell:
        "python -m pipeline train_emulator --chunks {input.chunks:q} --fit={params.fit:q} {params.search:q} --held-out={params.held_out:q}"
        " --design={params.design:q} --camb={params.camb:q} --checkpoints {params.checkpoints:q} --output={output.manifest:q} > {log:q} 2>&1"


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
        network=SECTIONS.path("network", PLAN.train.get("network", {})),
        held_out=PLAN.train["held_out"],
        checkpoint=kept("networks"),
        code=code("compare_emulators"),
    shell:
        "python -m pipeline compare_emulators --emulator={input.manifest:q} --chunks {input.chunks:q} --network={params.network:q}"
        " --held-out={params.held_out:q} --code={params.code:q} --checkpoint={params.checkpoint:q} --output={output:q} > {log:q} 2>&1"


rule plot_emulators:
    input:
        "<results>/theory/emulator_comparison.json",
    output:
        **figure(
            "emulator_comparison",
            "emulator_comparison",
            "Emulator",
            "polynomials and networks",
        ),
    log:
        "<logs>/plot_emulators.log",
    benchmark:
        "<benchmarks>/plot_emulators.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=code("plot_emulators"),
    shell:
        "python -m pipeline plot_emulators --comparison={input:q} --output={output.png:q} > {log:q} 2>&1"


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
        design=lambda wc: DESIGNS[wc.extension],
        camb=CAMB,
        checkpoint=lambda wc: kept(f"{wc.extension}.chunk_{wc.chunk}"),
        code=code("compute_theory"),
    shell:
        "python -m pipeline compute_theory --design={params.design:q} --camb={params.camb:q} --chunk={wildcards.chunk:q}"
        " --code={params.code:q} --checkpoint={params.checkpoint:q} --output={output:q} > {log:q} 2>&1"


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
        held_out=PLAN.train["held_out"],
        checkpoint=lambda wc: kept(f"{wc.extension}.finetuning"),
        code=code("compare_finetuning"),
    shell:
        "python -m pipeline compare_finetuning --base={input.manifest:q} --chunks {input.chunks:q} --held-out={params.held_out:q}"
        " --code={params.code:q} --checkpoint={params.checkpoint:q} --table={output.json:q} --output={output.png:q} > {log:q} 2>&1"


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
        held_out=PLAN.train["held_out"],
        design=lambda wc: DESIGNS[wc.extension],
        camb=CAMB,
        checkpoints=lambda wc: [
            kept(f"{wc.extension}.{Path(x).stem}") for x in extension_chunks(wc)
        ],
        code=code("finetune_emulator"),
    shell:
        "python -m pipeline finetune_emulator --base={input.manifest:q} --chunks {input.chunks:q} --held-out={params.held_out:q}"
        " --design={params.design:q} --camb={params.camb:q} --checkpoints {params.checkpoints:q} --output={output.manifest:q} > {log:q} 2>&1"


rule extensions:
    input:
        expand(
            "<results>/figures/finetuning_{extension}.png", extension=PLAN.extensions
        ),
        expand(
            "<results>/theory/emulator_{extension}/manifest.json",
            extension=PLAN.extensions,
        ),


rule training:
    input:
        PLAN.training_figures,
