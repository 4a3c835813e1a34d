# Report: one summary, one page, the record of the run, and the gate that fails when a check does.

# JSON products that a section of the page shows, by the section's key (cmbfit/report/sections.py)
PRODUCTS = {
    **COMPARISON_PRODUCTS,
    **LOOK_PRODUCTS,
    **ROTATION_PRODUCTS,
    **EVAPORATION_PRODUCTS,
    **BLACKBODY_PRODUCTS,
}

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
    *COMPARISON_FIGURES,
    "<results>/figures/maps.png",
    "<results>/figures/mask.png",
    "<results>/figures/spectra.png",
    *SURVEY_FIGURES,
    *LOOK_FIGURES,
    *ROTATION_FIGURES,
    *EVAPORATION_FIGURES,
    *BLACKBODY_FIGURES,
    *TRAINING_FIGURES,
    *(LOWL_FIGURES if LOWL else []),
    *[
        f"<results>/figures/{kind}_{fit}.png"
        for fit in FITS
        for kind in ("residuals", "corner", "traces", "emulator", "reweight")
    ],
    *[f"<results>/figures/primordial_{fit}.png" for fit in PRIMORDIAL_FITS],
]


FOLDER = f"results/{config['run']['name']}/"


rule write_summary:
    input:
        fits=[f"<results>/chains/{fit}.summary.json" for fit in FITS],
        reweighted=[f"<results>/chains/{fit}.reweight.json" for fit in FITS],
        checks=CHECKS,
        products=list(PRODUCTS.values()),
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
        sections=list(PRODUCTS),
        rules=lambda wc: as_json(rules_of_the_run()),
        files=sorted(set(MAP_FILES)),
        data=[data_hashes(fit) for fit in FITS],
        code=code("write_summary"),
    shell:
        "python -m pipeline.write_summary --names {params.names} --fits {input.fits} --reweighted {input.reweighted} --checks {input.checks}"
        " --sections {params.sections} --products {input.products} --rules {params.rules:q}"
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


rule write_crate:
    input:
        summary="<results>/summary.json",
        report="<results>/report/index.html",
    output:
        crate="<results>/ro-crate-metadata.json",
        citations="<results>/citations.bib",
        snakefile="<results>/workflow/Snakefile",
        config="<results>/workflow/config.json",
        hashes="<results>/workflow/code.json",
    log:
        "<logs>/write_crate.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        hashes=lambda wc: as_json(CODE),
        code=code("write_crate"),
    shell:
        "python -m pipeline.write_crate --summary {input.summary} --code {params.hashes:q}"
        " --output {output.crate} > {log} 2>&1"


rule gate:
    input:
        summary="<results>/summary.json",
        report="<results>/report/index.html",
        crate="<results>/ro-crate-metadata.json",
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
