# Spectral distortions of the FIRAS monopole, in closed form.

BLACKBODY = config.get("blackbody")
BLACKBODY_FIGURES = ["<results>/figures/firas.png"] if BLACKBODY else []
BLACKBODY_PRODUCTS = (
    {"blackbody": "<results>/features/blackbody.json"} if BLACKBODY else {}
)

if BLACKBODY:

    rule fit_blackbody:
        output:
            record="<results>/features/blackbody.json",
            png=report(
                "<results>/figures/firas.png",
                caption="../report/firas.rst",
                category="Models",
                labels={"figure": "FIRAS monopole"},
            ),
            pdf="<results>/figures/firas.pdf",
            csv="<results>/figures/firas.csv",
        log:
            "<logs>/fit_blackbody.log",
        benchmark:
            "<benchmarks>/fit_blackbody.jsonl"
        conda:
            ENVIRONMENT
        params:
            amplitude_max=BLACKBODY["amplitude_max"],
            data=data_hash("firas/firas_monopole_spec_v1.txt"),
            code=code("fit_blackbody"),
        shell:
            "stem={output.png}; python -m pipeline.fit_blackbody --amplitude-max {params.amplitude_max}"
            " --figure ${{stem%.png}} --output {output.record} > {log} 2>&1"
