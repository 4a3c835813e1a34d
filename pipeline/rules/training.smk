# Training: the search for the polynomials, the emulator, and networks beside it.


LEARNT = SECTIONS.path("train.fit", PLAN.train["fit"])
SEARCH = [f"{PLAN.folder}/theory/search.json"] if "search" in PLAN.train else []


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


rule training:
    input:
        PLAN.training_figures,
