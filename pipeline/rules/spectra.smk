# Checks of the run's own spectra, and of every data set against published numbers.


rule check_spectra:
    input:
        spectra=PLAN.own_spectra,
        leakage=PLAN.leakage,
        fiducial="<results>/theory/fiducial.txt",
    output:
        "<results>/checks/spectra.json",
    log:
        "<logs>/check_spectra.log",
    conda:
        ENVIRONMENT
    params:
        signal=PLAN.spectra["signal"],
        remark=lambda wc: PLAN.spectra["remark"],
        code=code("check_spectra"),
    shell:
        "python -m pipeline check_spectra --spectra={input.spectra:q} --theory={input.fiducial:q} --signal {params.signal:q}"
        " --remark={params.remark:q} --output={output:q} > {log:q} 2>&1"


rule check_likelihood:
    output:
        "<results>/checks/likelihood.json",
    log:
        "<logs>/check_likelihood.log",
    benchmark:
        "<benchmarks>/check_likelihood.jsonl"
    conda:
        ENVIRONMENT
    params:
        reference=SECTIONS.path("reference", PLAN.reference),
        code=code("check_likelihood"),
    shell:
        "python -m pipeline check_likelihood --reference={params.reference:q} --output={output:q} > {log:q} 2>&1"
