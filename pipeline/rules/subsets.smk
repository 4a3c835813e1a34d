# Subsets: parts of a fit's data fitted alone, held against the whole.

SUBSETS = {
    name: SECTIONS.path(f"subset.{name}", request.describe())
    for name, request in PLAN.subsets.items()
}
SUBSET_FILES = {name: f"{PLAN.folder}/comparison/subsets_{name}.json" for name in SUBSETS}


rule measure_subsets:
    input:
        manifest=MANIFEST,
        own=lambda wc: [
            x
            for x in [PLAN.own_spectra, PLAN.leakage]
            if PLAN.subsets[wc.subset].fit.own_spectra
        ],
        transfer=lambda wc: [
            f"{x}/manifest.json"
            for x in [PLAN.subsets[wc.subset].fit.transfer]
            if x is not None
        ],
    output:
        "<results>/comparison/subsets_{subset}.json",
    log:
        "<logs>/measure_subsets/{subset}.log",
    benchmark:
        "<benchmarks>/measure_subsets/{subset}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        request=lambda wc: SUBSETS[wc.subset],
        uses=lambda wc: PLAN.subset_uses(wc.subset),
        seed=PLAN.seed,
        code=code("measure_subsets", of_fits=True),
    shell:
        "python -m pipeline measure_subsets --request={params.request:q} --seed={params.seed:q} --output={output:q}"
        " > {log:q} 2>&1"


rule join_subsets:
    input:
        list(SUBSET_FILES.values()),
    output:
        "<results>/comparison/subsets.json",
    log:
        "<logs>/join_subsets.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        parts=SECTIONS.path("subsets", SUBSET_FILES),
        code=code("join_subsets"),
    shell:
        "python -m pipeline join_subsets --parts={params.parts:q} --output={output:q} > {log:q} 2>&1"


rule plot_subsets:
    input:
        "<results>/comparison/subsets_{subset}.json",
    output:
        **figure("subsets_{subset}", "subsets", "Models", "parts of the data"),
    log:
        "<logs>/plot_subsets/{subset}.log",
    priority: 10
    conda:
        ENVIRONMENT
    params:
        code=code("plot_subsets"),
    shell:
        "python -m pipeline plot_subsets --subsets={input:q} --output={output.png:q} > {log:q} 2>&1"
