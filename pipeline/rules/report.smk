# Report: one summary, one page, the record of the run, and the gate that fails when a check does.


rule write_summary:
    input:
        fits=[
            fit[key]
            for fit in PLAN.fitted(*PLAN.fits).values()
            for key in ("summary", "reweight")
        ],
        checks=PLAN.checks,
        products=list(PLAN.products.values()),
        manifest=MANIFEST,
    output:
        "<results>/summary.json",
    log:
        "<logs>/write_summary.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=SECTIONS.path("config", CONFIG),
        files=SECTIONS.path("summary", PLAN.summary_files()),
        rules=lambda wc: RULES,
        uses=lambda wc: PLAN.uses(*PLAN.fits.values()),
        code=code("write_summary"),
    shell:
        "python -m pipeline write_summary --config={params.config:q} --files={params.files:q} --rules={params.rules:q} --emulator={input.manifest:q}"
        " --output={output:q} > {log:q} 2>&1"


rule write_report:
    input:
        summary="<results>/summary.json",
        figures=PLAN.figures,
    output:
        page=report(
            "<results>/report/index.html",
            caption="../report/index.rst",
            category="Summary",
            labels={"figure": "first page: parameters and checks"},
        ),
        latex="<results>/report/parameters.tex",
        readme="<results>/README.md",
    log:
        "<logs>/write_report.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        figures=SECTIONS.path("figures", PLAN.figures),
        benchmarks=f"{PLAN.folder}/benchmarks",
        code=code("write_report"),
    shell:
        "python -m pipeline write_report --summary={input.summary:q} --figures={params.figures:q} --benchmarks={params.benchmarks:q}"
        " --output={output.page:q} > {log:q} 2>&1"


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
        hashes=lambda wc: HASHES,
        code=code("write_crate"),
    shell:
        "python -m pipeline write_crate --summary={input.summary:q} --code={params.hashes:q} --output={output.crate:q}"
        " > {log:q} 2>&1"


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
        "python -m pipeline gate --summary={input.summary:q} --output={output:q} 2>&1 | tee {log:q}"
