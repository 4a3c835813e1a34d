# Maps: masks and Stokes I, Q, U made ready, every step recorded in the product; cross-spectra of two bands.


PAIR = PLAN.spectra["pair"]
HOW = words(
    weighting=PLAN.spectra.get("weighting"), iterations=PLAN.spectra.get("iterations")
)
SIMULATED = {
    name: SECTIONS.path(f"simulate.{name}", band["simulate"])
    for name, band in PLAN.bands.items()
    if "simulate" in band
}


rule simulate_map:
    input:
        theory="<results>/theory/fiducial.txt",
        window=data_file(PLAN.maps["pixel_window"]),
    output:
        "<results>/maps/simulated/{band}.fits",
    log:
        "<logs>/simulate_map/{band}.log",
    benchmark:
        "<benchmarks>/simulate_map/{band}.jsonl"
    conda:
        ENVIRONMENT
    params:
        simulate=lambda wc: SIMULATED[wc.band],
        fwhm=lambda wc: PLAN.bands[wc.band]["fwhm_arcmin"],
        seed=PLAN.seed,
        code=code("simulate_map"),
    shell:
        "python -m pipeline simulate_map --theory={input.theory:q} --band={wildcards.band:q} --simulate={params.simulate:q}"
        " --fwhm-arcmin={params.fwhm:q} --pixel-window={input.window:q} --seed={params.seed:q} --output={output:q}"
        " > {log:q} 2>&1"


rule prepare_mask:
    input:
        mask_inputs(),
    output:
        "<results>/maps/mask.fits",
    log:
        "<logs>/prepare_mask.log",
    benchmark:
        "<benchmarks>/prepare_mask.jsonl"
    conda:
        ENVIRONMENT
    params:
        source=mask_words,
        apodisation=PLAN.maps["apodisation"],
        code=code("prepare_mask"),
    shell:
        "python -m pipeline prepare_mask {params.source:q} --apodisation-deg={params.apodisation[degrees]:q}"
        " --apodisation-type={params.apodisation[type]:q} --output={output:q} > {log:q} 2>&1"


rule prepare_maps:
    input:
        map=lambda wc: band_map(wc.band),
        mask="<results>/maps/mask.fits",
        bandpass=lambda wc: bandpass_file(PLAN.bands[wc.band]),
    output:
        "<results>/maps/{band}.fits",
    log:
        "<logs>/prepare_maps/{band}.log",
    benchmark:
        "<benchmarks>/prepare_maps/{band}.jsonl"
    conda:
        ENVIRONMENT
    params:
        declared=map_words,
        code=code("prepare_maps"),
    shell:
        "python -m pipeline prepare_maps --map={input.map:q} --mask={input.mask:q} --band={wildcards.band:q} {params.declared:q} --output={output:q}"
        " > {log:q} 2>&1"


rule estimate_spectra:
    input:
        maps=[f"<results>/maps/{band}.fits" for band in PAIR],
        mask="<results>/maps/mask.fits",
        window=data_file(PLAN.maps["pixel_window"]),
        fiducial="<results>/theory/fiducial.txt",
    output:
        sacc=PLAN.own_spectra,
        leakage=PLAN.leakage,
    log:
        "<logs>/estimate_spectra.log",
    benchmark:
        "<benchmarks>/estimate_spectra.jsonl"
    conda:
        ENVIRONMENT
    params:
        names=PAIR,
        fwhm=[PLAN.bands[band]["fwhm_arcmin"] for band in PAIR],
        edges=PLAN.edges,
        how=HOW,
        window_sha256=data_hash(PLAN.maps["pixel_window"]),
        code=code("estimate_spectra"),
    shell:
        "python -m pipeline estimate_spectra --map-a={input.maps[0]:q} --map-b={input.maps[1]:q} --mask={input.mask:q}"
        " --name-a={params.names[0]:q} --name-b={params.names[1]:q} --fiducial={input.fiducial:q}"
        " --pixel-window={input.window:q} --pixel-window-sha256={params.window_sha256:q}"
        " --fwhm-arcmin-a={params.fwhm[0]:q} --fwhm-arcmin-b={params.fwhm[1]:q} --edges {params.edges:q} {params.how:q}"
        " --output={output.sacc:q} > {log:q} 2>&1"
