# Look-elsewhere: the best oscillation of P(k) at any frequency, in the data and in simulated LCDM skies.

LOOK = config.get("look_elsewhere")
LOOK_FIGURES = ["<results>/figures/look_elsewhere.png"] if LOOK else []
LOOK_PRODUCTS = (
    {"look_elsewhere": "<results>/features/look_elsewhere.json"} if LOOK else {}
)

if LOOK:
    if not TRANSFER:
        raise WorkflowError(
            "look_elsewhere needs transfer functions: say with theory.transfer how they are made"
            " (pipeline/config/early_universe.yaml)"
        )

    # a fit's priors and start with Gaussian data, such as tau_lowe in place of low-l EE
    LOOK_FIT = {
        **{
            key: named(config["fits"], LOOK["fit"], "look_elsewhere.fit")[key]
            for key in ("priors", "start")
        },
        "data": LOOK["data"],
    }

    rule search_features:
        input:
            manifest=MANIFEST,
            transfer=TRANSFER_MANIFEST,
        output:
            search="<results>/features/look_elsewhere.json",
            curves="<results>/features/look_elsewhere.curves.json",
        log:
            "<logs>/search_features.log",
        benchmark:
            "<benchmarks>/search_features.jsonl"
        conda:
            ENVIRONMENT
        resources:
            gpu=1 if config["device"] == "cuda" else 0,
            mem_mb=2500,
        params:
            fit=as_json(LOOK_FIT),
            search=as_json({k: x for k, x in LOOK.items() if k not in ("fit", "data")}),
            device=config["device"],
            seed=SEED,
            code=code("search_features"),
        shell:
            "python -m pipeline.search_features --fit {params.fit:q} --search {params.search:q}"
            " --emulator $(dirname {input.manifest}) --transfer $(dirname {input.transfer})"
            " --device {params.device} --seed {params.seed} --output {output.search} --curves {output.curves} > {log} 2>&1"

    rule plot_features:
        input:
            search="<results>/features/look_elsewhere.json",
            curves="<results>/features/look_elsewhere.curves.json",
        output:
            png=report(
                "<results>/figures/look_elsewhere.png",
                caption="../report/look_elsewhere.rst",
                category="Models",
                labels={"figure": "look-elsewhere"},
            ),
            pdf="<results>/figures/look_elsewhere.pdf",
            csv="<results>/figures/look_elsewhere.csv",
        log:
            "<logs>/plot_features.log",
        conda:
            ENVIRONMENT
        params:
            code=code("plot_features"),
        shell:
            "stem={output.png}; python -m pipeline.plot_features --search {input.search} --curves {input.curves}"
            " --output ${{stem%.png}} > {log} 2>&1"
