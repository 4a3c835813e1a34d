# Spectra: checks of the run's own spectra.


rule check_spectra:
    input:
        spectra=f"<results>/spectra/{PAIR}.sacc.fits",
        leakage=f"<results>/spectra/{PAIR}.leakage.fits",
        fiducial="<results>/theory/fiducial.txt",
    output:
        "<results>/checks/spectra.json",
    log:
        "<logs>/check_spectra.log",
    conda:
        ENVIRONMENT
    params:
        signal=config["spectra"]["signal"],
        remark=config["spectra"]["remark"],
        code=code("check_spectra"),
    shell:
        "python -m pipeline.check_spectra --spectra {input.spectra} --theory {input.fiducial}"
        " --signal {params.signal} --remark {params.remark:q} --output {output} > {log} 2>&1"
