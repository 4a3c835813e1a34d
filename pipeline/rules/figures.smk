# Figures: from published products only, each as PNG, PDF and CSV.


if PLAN.survey:

    rule plot_survey_maps:
        input:
            FIELD_FILES,
        output:
            **figure("maps", "maps", "Maps", "Stokes I, Q, U, P"),
            **figure("mask", "mask", "Maps", "mask", "mask_"),
        log:
            "<logs>/plot_survey_maps.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            fields=FIELDS,
            code=code("plot_survey_maps"),
        shell:
            "python -m pipeline plot_survey_maps --fields={params.fields:q} --output={output.png:q} --mask-output={output.mask_png:q}"
            " > {log:q} 2>&1"

    rule plot_nulls:
        input:
            "<results>/checks/nulls.json",
            "<results>/checks/pairs.json",
        output:
            **figure("nulls", "nulls", "Spectra", "null tests and consistency"),
        log:
            "<logs>/plot_nulls.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            code=code("plot_nulls"),
        shell:
            "python -m pipeline plot_nulls --checks {input:q} --output={output.png:q} > {log:q} 2>&1"

else:

    rule plot_maps:
        input:
            maps=expand("<results>/maps/{band}.fits", band=PLAN.bands),
            mask="<results>/maps/mask.fits",
        output:
            **figure("maps", "maps", "Maps", "Stokes I, Q, U, P"),
            **figure("mask", "mask", "Maps", "mask", "mask_"),
        log:
            "<logs>/plot_maps.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            names=list(PLAN.bands),
            code=code("plot_maps"),
        shell:
            "python -m pipeline plot_maps --maps {input.maps:q} --names {params.names:q} --mask={input.mask:q} --output={output.png:q}"
            " --mask-output={output.mask_png:q} > {log:q} 2>&1"


rule plot_spectra:
    input:
        spectra=PLAN.own_spectra,
        leakage=PLAN.leakage,
        theory="<results>/theory/fiducial.txt",
    output:
        **figure("spectra", "spectra", "Spectra", "cross-spectra"),
    log:
        "<logs>/plot_spectra.log",
    priority: 10
    conda:
        ENVIRONMENT
    params:
        signal=PLAN.spectra["signal"],
        code=code("plot_spectra"),
    shell:
        "python -m pipeline plot_spectra --spectra={input.spectra:q} --theory={input.theory:q} --signal {params.signal:q}"
        " --label='fiducial LCDM (CAMB)' --output={output.png:q} > {log:q} 2>&1"


rule plot_emulator:
    input:
        "<results>/theory/emulator_errors_{fit}.json",
    output:
        **figure("emulator_{fit}", "emulator", "Emulator", "error by multipole"),
    log:
        "<logs>/plot_emulator/{fit}.log",
    priority: 10
    conda:
        ENVIRONMENT
    params:
        code=code("plot_emulator"),
    shell:
        "python -m pipeline plot_emulator --errors={input:q} --output={output.png:q} > {log:q} 2>&1"


rule plot_reweight:
    input:
        "<results>/chains/{fit}.reweight.json",
    output:
        **figure("reweight_{fit}", "reweight", "Emulator", "exact re-weighting"),
    log:
        "<logs>/plot_reweight/{fit}.log",
    priority: 10
    conda:
        ENVIRONMENT
    params:
        marks=MARKS,
        code=code("plot_reweight"),
    shell:
        "python -m pipeline plot_reweight --record={input:q} --marks={params.marks:q} --output={output.png:q} > {log:q} 2>&1"


rule plot_residuals:
    input:
        **posterior(summary="<results>/chains/{fit}.summary.json"),
    output:
        **figure("residuals_{fit}", "residuals", "Fits", "bandpowers and best fit"),
    log:
        "<logs>/plot_residuals/{fit}.log",
    priority: 10
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: FITS[wc.fit],
        uses=uses,
        code=code("plot_residuals", of_fits=True),
    shell:
        "python -m pipeline plot_residuals --summary={input.summary:q} --fit={params.fit:q} --output={output.png:q}"
        " > {log:q} 2>&1"


rule plot_distances:
    input:
        **posterior(summary="<results>/chains/{fit}.summary.json"),
    output:
        **figure("distances_{fit}", "distances", "Fits", "distances and best fit"),
    log:
        "<logs>/plot_distances/{fit}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: FITS[wc.fit],
        uses=uses,
        code=code("plot_distances", of_fits=True),
    shell:
        "python -m pipeline plot_distances --summary={input.summary:q} --fit={params.fit:q} --output={output.png:q}"
        " > {log:q} 2>&1"


rule plot_foregrounds:
    input:
        **posterior(summary="<results>/chains/{fit}.summary.json"),
    output:
        **figure("foregrounds_{fit}", "foregrounds", "Fits", "foregrounds by frequency"),
    log:
        "<logs>/plot_foregrounds/{fit}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: FITS[wc.fit],
        uses=uses,
        code=code("plot_foregrounds", of_fits=True),
    shell:
        "python -m pipeline plot_foregrounds --summary={input.summary:q} --fit={params.fit:q} --output={output.png:q}"
        " > {log:q} 2>&1"


rule plot_amplitudes:
    input:
        **posterior(samples="<results>/chains/{fit}.samples.h5"),
    output:
        **figure("amplitudes_{fit}", "amplitudes", "Fits", "foreground amplitudes"),
    log:
        "<logs>/plot_amplitudes/{fit}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: FITS[wc.fit],
        uses=uses,
        code=code("plot_amplitudes", of_fits=True),
    shell:
        "python -m pipeline plot_amplitudes --samples={input.samples:q} --fit={params.fit:q} --output={output.png:q}"
        " > {log:q} 2>&1"


rule plot_chains:
    input:
        lambda wc: PLAN.chains(wc.fit),
    output:
        **figure("traces_{fit}", "traces", "Fits", "traces and autocorrelation"),
    log:
        "<logs>/plot_chains/{fit}.log",
    priority: 10
    conda:
        ENVIRONMENT
    params:
        multiple=lambda wc: words(tau_multiple=PLAN.tau_multiple(wc.fit)),
        code=code("plot_chains"),
    shell:
        "python -m pipeline plot_chains --chains {input:q} {params.multiple:q} --output={output.png:q}"
        " > {log:q} 2>&1"


rule plot_posterior:
    input:
        "<results>/chains/{fit}.samples.h5",
    output:
        **figure("corner_{fit}", "corner", "Fits", "posterior"),
    log:
        "<logs>/plot_posterior/{fit}.log",
    priority: 10
    conda:
        ENVIRONMENT
    params:
        fit=lambda wc: FITS[wc.fit],
        code=code("plot_posterior"),
    shell:
        "python -m pipeline plot_posterior --samples={input:q} --fit={params.fit:q} --output={output.png:q} > {log:q} 2>&1"


if PLAN.several_data:

    rule plot_together:
        input:
            expand("<results>/figures/residuals_{fit}.csv", fit=list(PLAN.fits)),
        output:
            **figure("together", "together", "Spectra", "all fitted data together"),
        log:
            "<logs>/plot_together.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            # a function: braces in a title are no wildcards
            label=lambda wc: next(iter(PLAN.fits.values())).title,
            code=code("plot_together"),
        shell:
            "python -m pipeline plot_together --residuals {input:q} --label={params.label:q} --output={output.png:q} > {log:q} 2>&1"


rule plot_power:
    input:
        samples="<results>/chains/{fit}.samples.h5",
        summary="<results>/chains/{fit}.summary.json",
    output:
        **figure("power_{fit}", "power", "Fits", "primordial power"),
    log:
        "<logs>/plot_power/{fit}.log",
    priority: 10
    conda:
        ENVIRONMENT
    params:
        code=code("plot_power"),
    shell:
        "python -m pipeline plot_power --samples={input.samples:q} --summary={input.summary:q} --output={output.png:q}"
        " > {log:q} 2>&1"
