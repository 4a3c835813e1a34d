# Maps: masks and Stokes I, Q, U made ready, every step recorded in the product; cross-spectra of two bands.


CUT = config["maps"].get("galactic_cut")


rule simulate_map:
    input:
        theory="<results>/theory/fiducial.txt",
        window=data_file(config["maps"]["pixel_window"]),
    output:
        "<results>/maps/simulated/{band}.fits",
    log:
        "<logs>/simulate_map/{band}.log",
    benchmark:
        "<benchmarks>/simulate_map/{band}.jsonl"
    conda:
        ENVIRONMENT
    params:
        simulate=lambda wc: as_json(BANDS[wc.band]["simulate"]),
        fwhm=lambda wc: BANDS[wc.band]["fwhm_arcmin"],
        seed=SEED,
        code=code("simulate_map"),
    shell:
        "python -m pipeline.simulate_map --theory {input.theory} --band {wildcards.band}"
        " --simulate {params.simulate:q} --fwhm-arcmin {params.fwhm} --pixel-window {input.window}"
        " --seed {params.seed} --output {output} > {log} 2>&1"


rule prepare_mask:
    input:
        mask=[] if CUT else data_file(config["maps"]["mask"]),
    output:
        "<results>/maps/mask.fits",
    log:
        "<logs>/prepare_mask.log",
    benchmark:
        "<benchmarks>/prepare_mask.jsonl"
    conda:
        ENVIRONMENT
    params:
        source=lambda wc, input: (
            f"--galactic-cut {CUT['nside']} {CUT['latitude_deg']}"
            if CUT
            else f"--mask {input.mask} {declared('coord', 'ordering')} --mask-sha256 {data_hash(config['maps']['mask'])}"
        ),
        apodisation=config["maps"]["apodisation"],
        code=code("prepare_mask"),
    shell:
        "python -m pipeline.prepare_mask {params.source}"
        " --apodisation-deg {params.apodisation[degrees]} --apodisation-type {params.apodisation[type]}"
        " --output {output} > {log} 2>&1"


rule prepare_maps:
    input:
        map=lambda wc: (
            data_file(BANDS[wc.band]["map"])
            if "map" in BANDS[wc.band]
            else f"<results>/maps/simulated/{wc.band}.fits"
        ),
        mask="<results>/maps/mask.fits",
    output:
        "<results>/maps/{band}.fits",
    log:
        "<logs>/prepare_maps/{band}.log",
    benchmark:
        "<benchmarks>/prepare_maps/{band}.jsonl"
    conda:
        ENVIRONMENT
    params:
        declared=declared("coord", "ordering", "unit", "polcconv"),
        sha256=lambda wc: (
            f"--map-sha256 {data_hash(BANDS[wc.band]['map'])}"
            if "map" in BANDS[wc.band]
            else ""
        ),
        code=code("prepare_maps"),
    shell:
        "python -m pipeline.prepare_maps --map {input.map} --mask {input.mask} --band {wildcards.band}"
        " {params.declared} {params.sha256} --output {output} > {log} 2>&1"


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
