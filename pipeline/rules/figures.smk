# Figures: from published products only, each as PNG, PDF and CSV.

CAPTIONS = "../report"


if MANY:

    rule plot_survey_maps:
        input:
            files=[f for field in SURVEY.fields for f in SURVEY.field_inputs(field)],
        output:
            png=report(
                "<results>/figures/maps.png",
                caption=f"{CAPTIONS}/survey_maps.rst",
                category="Maps",
                labels={"figure": "Stokes I, Q, U, P"},
            ),
            pdf="<results>/figures/maps.pdf",
            csv="<results>/figures/maps.csv",
            mask_png=report(
                "<results>/figures/mask.png",
                caption=f"{CAPTIONS}/mask.rst",
                category="Maps",
                labels={"figure": "mask"},
            ),
            mask_pdf="<results>/figures/mask.pdf",
            mask_csv="<results>/figures/mask.csv",
        log:
            "<logs>/plot_survey_maps.log",
        conda:
            ENVIRONMENT
        params:
            fields=resolved([SURVEY.field_spec(f) for f in SURVEY.fields]),
            code=code("plot_survey_maps"),
        shell:
            "stem={output.png}; mask={output.mask_png}; python -m pipeline.plot_survey_maps"
            " --fields {params.fields:q} --output ${{stem%.png}} --mask-output ${{mask%.png}} > {log} 2>&1"

    rule plot_nulls:
        input:
            nulls="<results>/checks/nulls.json",
            pairs="<results>/checks/pairs.json",
        output:
            png=report(
                "<results>/figures/nulls.png",
                caption=f"{CAPTIONS}/nulls.rst",
                category="Spectra",
                labels={"figure": "null tests and consistency"},
            ),
            pdf="<results>/figures/nulls.pdf",
            csv="<results>/figures/nulls.csv",
        log:
            "<logs>/plot_nulls.log",
        conda:
            ENVIRONMENT
        params:
            code=code("plot_nulls"),
        shell:
            "stem={output.png}; python -m pipeline.plot_nulls --checks {input.nulls} {input.pairs}"
            " --output ${{stem%.png}} > {log} 2>&1"

else:

    rule plot_maps:
        input:
            maps=expand("<results>/maps/{band}.fits", band=BANDS),
            mask="<results>/maps/mask.fits",
        output:
            png=report(
                "<results>/figures/maps.png",
                caption=f"{CAPTIONS}/maps.rst",
                category="Maps",
                labels={"figure": "Stokes I, Q, U, P"},
            ),
            pdf="<results>/figures/maps.pdf",
            csv="<results>/figures/maps.csv",
            mask_png=report(
                "<results>/figures/mask.png",
                caption=f"{CAPTIONS}/mask.rst",
                category="Maps",
                labels={"figure": "mask"},
            ),
            mask_pdf="<results>/figures/mask.pdf",
            mask_csv="<results>/figures/mask.csv",
        log:
            "<logs>/plot_maps.log",
        conda:
            ENVIRONMENT
        params:
            names=list(BANDS),
            code=code("plot_maps"),
        shell:
            "stem={output.png}; mask={output.mask_png}; python -m pipeline.plot_maps --maps {input.maps}"
            " --names {params.names} --mask {input.mask} --output ${{stem%.png}}"
            " --mask-output ${{mask%.png}} > {log} 2>&1"


rule plot_spectra:
    input:
        spectra=f"<results>/spectra/{PAIR}.sacc.fits",
        leakage=f"<results>/spectra/{PAIR}.leakage.fits",
        theory="<results>/theory/fiducial.txt",
    output:
        png=report(
            "<results>/figures/spectra.png",
            caption=f"{CAPTIONS}/spectra.rst",
            category="Spectra",
            labels={"figure": "cross-spectra"},
        ),
        pdf="<results>/figures/spectra.pdf",
        csv="<results>/figures/spectra.csv",
    log:
        "<logs>/plot_spectra.log",
    conda:
        ENVIRONMENT
    params:
        signal=config["spectra"]["signal"],
        code=code("plot_spectra"),
    shell:
        "stem={output.png}; python -m pipeline.plot_spectra --spectra {input.spectra} --theory {input.theory} --signal {params.signal}"
        " --label 'fiducial LCDM (CAMB)' --output ${{stem%.png}} > {log} 2>&1"


rule plot_emulator:
    input:
        "<results>/theory/emulator_errors_{fit}.json",
    output:
        png=report(
            "<results>/figures/emulator_{fit}.png",
            caption=f"{CAPTIONS}/emulator.rst",
            category="Emulator",
            labels={"figure": "error by multipole", "fit": "{fit}"},
        ),
        pdf="<results>/figures/emulator_{fit}.pdf",
        csv="<results>/figures/emulator_{fit}.csv",
    log:
        "<logs>/plot_emulator/{fit}.log",
    conda:
        ENVIRONMENT
    params:
        code=code("plot_emulator"),
    shell:
        "stem={output.png}; python -m pipeline.plot_emulator --errors {input}"
        " --output ${{stem%.png}} > {log} 2>&1"


rule plot_reweight:
    input:
        "<results>/chains/{fit}.reweight.json",
    output:
        png=report(
            "<results>/figures/reweight_{fit}.png",
            caption=f"{CAPTIONS}/reweight.rst",
            category="Emulator",
            labels={"figure": "exact re-weighting", "fit": "{fit}"},
        ),
        pdf="<results>/figures/reweight_{fit}.pdf",
        csv="<results>/figures/reweight_{fit}.csv",
    log:
        "<logs>/plot_reweight/{fit}.log",
    conda:
        ENVIRONMENT
    params:
        marks=as_json(EMULATOR["check"]),
        code=code("plot_reweight"),
    shell:
        "stem={output.png}; python -m pipeline.plot_reweight --record {input} --marks {params.marks:q}"
        " --output ${{stem%.png}} > {log} 2>&1"


rule plot_residuals:
    input:
        summary="<results>/chains/{fit}.summary.json",
        manifest=MANIFEST,
        own=lambda wc: own_spectra(wc.fit),
        transfer=transfer_of,
    output:
        png=report(
            "<results>/figures/residuals_{fit}.png",
            caption=f"{CAPTIONS}/residuals.rst",
            category="Fits",
            labels={"figure": "bandpowers and best fit", "fit": "{fit}"},
        ),
        pdf="<results>/figures/residuals_{fit}.pdf",
        csv="<results>/figures/residuals_{fit}.csv",
    log:
        "<logs>/plot_residuals/{fit}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: as_json(FITS[wc.fit]),
        transfer=transfer_option,
        code=code("plot_residuals"),
    shell:
        "stem={output.png}; python -m pipeline.plot_residuals --summary {input.summary} --fit {params.fit:q}"
        " --emulator $(dirname {input.manifest}) {params.transfer} --output ${{stem%.png}} > {log} 2>&1"


rule plot_chains:
    input:
        chains=ensembles,
    output:
        png=report(
            "<results>/figures/traces_{fit}.png",
            caption=f"{CAPTIONS}/traces.rst",
            category="Fits",
            labels={"figure": "traces and autocorrelation", "fit": "{fit}"},
        ),
        pdf="<results>/figures/traces_{fit}.pdf",
        csv="<results>/figures/traces_{fit}.csv",
    log:
        "<logs>/plot_chains/{fit}.log",
    conda:
        ENVIRONMENT
    params:
        multiple=lambda wc: FITS[wc.fit]["sampler"]["tau_multiple"],
        code=code("plot_chains"),
    shell:
        "stem={output.png}; python -m pipeline.plot_chains --chains {input.chains}"
        " --tau-multiple {params.multiple} --output ${{stem%.png}} > {log} 2>&1"


rule plot_posterior:
    input:
        samples="<results>/chains/{fit}.samples.h5",
    output:
        png=report(
            "<results>/figures/corner_{fit}.png",
            caption=f"{CAPTIONS}/corner.rst",
            category="Fits",
            labels={"figure": "posterior", "fit": "{fit}"},
        ),
        pdf="<results>/figures/corner_{fit}.pdf",
        csv="<results>/figures/corner_{fit}.csv",
    log:
        "<logs>/plot_posterior/{fit}.log",
    conda:
        ENVIRONMENT
    params:
        fit=lambda wc: as_json(FITS[wc.fit]),
        code=code("plot_posterior"),
    shell:
        "stem={output.png}; python -m pipeline.plot_posterior --samples {input.samples} --fit {params.fit:q}"
        " --output ${{stem%.png}} > {log} 2>&1"
