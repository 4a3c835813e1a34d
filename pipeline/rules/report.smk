# Report: one summary, one page, and the gate that fails when a check does.

CHECKS = [
    "<results>/checks/spectra.json",
    *SURVEY_CHECKS,
    *(LOWL_CHECKS if LOWL else []),
    "<results>/checks/likelihood.json",
    *[
        f"<results>/checks/{kind}_{fit}.json"
        for fit in FITS
        for kind in ("chains", "emulator", "reweight")
    ],
]
FIGURES = [
    "<results>/figures/maps.png",
    "<results>/figures/mask.png",
    "<results>/figures/spectra.png",
    *SURVEY_FIGURES,
    *(LOWL_FIGURES if LOWL else []),
    *[
        f"<results>/figures/{kind}_{fit}.png"
        for fit in FITS
        for kind in ("residuals", "corner", "traces", "emulator", "reweight")
    ],
]


rule write_summary:
    input:
        fits=[f"<results>/chains/{fit}.summary.json" for fit in FITS],
        reweighted=[f"<results>/chains/{fit}.reweight.json" for fit in FITS],
        checks=CHECKS,
        manifest=MANIFEST,
    output:
        "<results>/summary.json",
    log:
        "<logs>/write_summary.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=lambda wc: as_json(config),  # it may hold {wildcards} of its own
        names=list(FITS),
        files=sorted(set(MAP_FILES)),
        data=[data_hashes(fit) for fit in FITS],
        code=code("write_summary"),
    shell:
        "python -m pipeline.write_summary --names {params.names} --fits {input.fits} --reweighted {input.reweighted} --checks {input.checks}"
        " --emulator {input.manifest} --config {params.config:q} --files {params.files}"
        " --output {output} > {log} 2>&1"


rule write_report:
    input:
        summary="<results>/summary.json",
        figures=FIGURES,
    output:
        report(
            "<results>/report/index.html",
            caption=f"{CAPTIONS}/index.rst",
            category="Summary",
            labels={"figure": "first page: parameters and checks"},
        ),
    log:
        "<logs>/write_report.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        benchmarks=f"results/{config['run']['name']}/benchmarks",
        code=code("write_report"),
    shell:
        "python -m pipeline.write_report --summary {input.summary} --figures {input.figures}"
        " --benchmarks {params.benchmarks} --output {output} > {log} 2>&1"


rule gate:
    input:
        summary="<results>/summary.json",
        report="<results>/report/index.html",
    output:
        "<results>/checks/PASSED",
    log:
        "<logs>/gate.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        code=code("gate"),
    shell:
        "python -m pipeline.gate --summary {input.summary} --output {output} 2>&1 | tee {log}"
