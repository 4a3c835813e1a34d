# Spectra: cross-spectra of two bands with windows and covariance, as SACC.


rule estimate_spectra:
    input:
        map_a="<results>/maps/{}.fits".format(config["spectra"]["pair"][0]),
        map_b="<results>/maps/{}.fits".format(config["spectra"]["pair"][1]),
        mask="<results>/maps/mask.fits",
        window=data_file(config["maps"]["pixel_window"]),
        fiducial="<results>/theory/fiducial.txt",
    output:
        sacc=f"<results>/spectra/{PAIR}.sacc.fits",
        leakage=f"<results>/spectra/{PAIR}.leakage.fits",
    log:
        "<logs>/estimate_spectra.log",
    benchmark:
        "<benchmarks>/estimate_spectra.jsonl"
    conda:
        ENVIRONMENT
    params:
        names=config["spectra"]["pair"],
        fwhm=[BANDS[band]["fwhm_arcmin"] for band in config["spectra"]["pair"]],
        edges=config["spectra"]["edges"],
        window_sha256=data_hash(config["maps"]["pixel_window"]),
        code=code("estimate_spectra"),
    shell:
        "python -m pipeline.estimate_spectra --map-a {input.map_a} --map-b {input.map_b}"
        " --name-a {params.names[0]} --name-b {params.names[1]} --mask {input.mask}"
        " --fiducial {input.fiducial} --pixel-window {input.window}"
        " --fwhm-arcmin-a {params.fwhm[0]} --fwhm-arcmin-b {params.fwhm[1]}"
        " --pixel-window-sha256 {params.window_sha256} --edges {params.edges} --output {output.sacc} > {log} 2>&1"


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
