# Evaporating primordial black holes: limits from the fits of all masses together.


HOLES = [
    {"name": fit, "mass_g": PLAN.evaporation[fit], **files}
    for fit, files in PLAN.fitted(*PLAN.evaporation).items()
]


rule limit_evaporation:
    input:
        fits=[fit[key] for fit in HOLES for key in ("samples", "summary")],
        manifest=MANIFEST,
    output:
        **figure(
            "evaporation", "evaporation", "Models", "limits on evaporating black holes"
        ),
        **figure(
            "evaporation_imprint",
            "evaporation",
            "Models",
            "what holes at their limits change",
            "imprint_",
        ),
        limits="<results>/evaporation/limits.json",
    log:
        "<logs>/limit_evaporation.log",
    benchmark:
        "<benchmarks>/limit_evaporation.jsonl"
    conda:
        ENVIRONMENT
    params:
        fits=SECTIONS.path("evaporation", HOLES),
        code=code("limit_evaporation"),
    shell:
        "python -m pipeline limit_evaporation --fits={params.fits:q} --emulator={input.manifest:q} --figure={output.png:q}"
        " --imprint-figure={output.imprint_png:q} --output={output.limits:q} > {log:q} 2>&1"


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
        checkpoint=lambda wc: kept(f"injection.{wc.part}"),
        code=code("compute_injection"),
    shell:
        "python -m pipeline compute_injection --cosmology={wildcards.part:q} --code={params.code:q}"
        " --checkpoint={params.checkpoint:q} --output={output:q} > {log:q} 2>&1"


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
        checkpoints=[kept(f"injection.{i}") for i in range(INJECTION_RUNS)],
        code=code("fit_injection"),
    shell:
        "python -m pipeline fit_injection --runs {input:q} --base=lcdm_high --checkpoints {params.checkpoints:q}"
        " --output={output:q} > {log:q} 2>&1"
