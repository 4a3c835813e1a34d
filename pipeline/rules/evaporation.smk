# Evaporating primordial black holes: limits from the fits of all masses together.

EVAPORATION = {
    fit: FITS[fit]["theory"]["evaporation"]
    for fit in FITS
    if "evaporation" in FITS[fit].get("theory", {})
}
EVAPORATION_PRODUCTS = (
    {"evaporation": "<results>/evaporation/limits.json"} if EVAPORATION else {}
)
EVAPORATION_FIGURES = (
    [
        "<results>/figures/evaporation.png",
        "<results>/figures/evaporation_imprint.png",
    ]
    if EVAPORATION
    else []
)


rule limit_evaporation:
    input:
        samples=expand("<results>/chains/{fit}.samples.h5", fit=EVAPORATION),
        summaries=expand("<results>/chains/{fit}.summary.json", fit=EVAPORATION),
        manifest=MANIFEST,
    output:
        limits="<results>/evaporation/limits.json",
        png=report(
            "<results>/figures/evaporation.png",
            caption="../report/evaporation.rst",
            category="Models",
            labels={"figure": "limits on evaporating black holes"},
        ),
        pdf="<results>/figures/evaporation.pdf",
        csv="<results>/figures/evaporation.csv",
        imprint=report(
            "<results>/figures/evaporation_imprint.png",
            caption="../report/evaporation.rst",
            category="Models",
            labels={"figure": "what holes at their limits change"},
        ),
        imprint_pdf="<results>/figures/evaporation_imprint.pdf",
        imprint_csv="<results>/figures/evaporation_imprint.csv",
    log:
        "<logs>/limit_evaporation.log",
    benchmark:
        "<benchmarks>/limit_evaporation.jsonl"
    conda:
        ENVIRONMENT
    params:
        fits=list(EVAPORATION),
        masses=list(EVAPORATION.values()),
        code=code("limit_evaporation"),
    shell:
        "stem={output.png}; python -m pipeline.limit_evaporation --fits {params.fits} --masses {params.masses}"
        " --samples {input.samples} --summaries {input.summaries} --emulator $(dirname {input.manifest})"
        " --figures ${{stem%.png}} --output {output.limits} > {log} 2>&1"


# the shipped response's own making: snakemake ... results/<run>/evaporation/injection_response.npz (needs classy)
INJECTION_RUNS = 12


rule compute_injection:
    output:
        "<results>/evaporation/runs/{part}.npz",
    log:
        "<logs>/compute_injection/{part}.log",
    benchmark:
        "<benchmarks>/compute_injection/{part}.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=code("compute_injection"),
    shell:
        "python -m pipeline.compute_injection --cosmology {wildcards.part}"
        " --output {output} > {log} 2>&1"


rule fit_injection:
    input:
        expand("<results>/evaporation/runs/{part}.npz", part=range(INJECTION_RUNS)),
    output:
        "<results>/evaporation/injection_response.npz",
    log:
        "<logs>/fit_injection.log",
    benchmark:
        "<benchmarks>/fit_injection.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=code("fit_injection"),
    shell:
        "python -m pipeline.fit_injection --runs {input} --base lcdm_high --output {output} > {log} 2>&1"
