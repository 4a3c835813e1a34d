# Comparison: evidences, models of the same data in one table, predictive checks, data sets against each other.

MODELS = {
    name: SECTIONS.path(f"model.{name}", model.describe())
    for name, model in PLAN.models.items()
}


rule compute_evidence:
    input:
        manifest=MANIFEST,
        own=lambda wc: PLAN.own_of(fit_of(wc)),
        transfer=lambda wc: PLAN.transfer_of(fit_of(wc)),
        chain=chain_of,
    output:
        **(
            {"samples": "<results>/evidence/{model}.samples.h5"}
            if PLAN.evidence_method in ("nested", "tempered")
            else {}
        ),
        record="<results>/evidence/{model}.json",
    log:
        "<logs>/compute_evidence/{model}.log",
    benchmark:
        "<benchmarks>/compute_evidence/{model}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=fit_memory,
    params:
        model=lambda wc: MODELS[wc.model],
        settings=SECTIONS.path("evidence", PLAN.comparison["evidence"]),
        chain=lambda wc: [w for x in chain_of(wc) for w in words(samples=x)],
        uses=lambda wc: PLAN.uses(PLAN.fits[fit_of(wc)]),
        method=PLAN.evidence_code() if PLAN.evidence_method else None,
        device=PLAN.device,
        seed=PLAN.seed,
        checkpoint=lambda wc: kept(f"evidence.{wc.model}"),
        code=code("compute_evidence", of_fits=True),
    shell:
        "python -m pipeline compute_evidence --model={params.model:q} --settings={params.settings:q} {params.chain:q} --code={params.code:q}.{params.uses:q}.{params.method:q}"
        " --device={params.device:q} --seed={params.seed:q} --checkpoint={params.checkpoint:q} --output={output.record:q}"
        " > {log:q} 2>&1"


if PLAN.compared:
    JOINED = PLAN.comparison_files()

    rule compare_fits:
        input:
            manifest=MANIFEST,
            own=[x for fit in PLAN.compared_fits for x in PLAN.own_of(fit)],
            transfer=[x for fit in PLAN.compared_fits for x in PLAN.transfer_of(fit)],
            fits=[
                fit[key]
                for fit in JOINED["fits"].values()
                for key in ("samples", "summary")
            ],
            others=[*JOINED["evidence"], *JOINED["look_elsewhere"], *JOINED["closed"]],
        output:
            "<results>/comparison/models.json",
        log:
            "<logs>/compare_fits.log",
        benchmark:
            "<benchmarks>/compare_fits.jsonl"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=2000 + 700 * len(set(PLAN.compared_fits) & set(PLAN.primordial_fits)),
        params:
            groups=SECTIONS.path(
                "groups",
                [[model.describe() for model in group] for group in PLAN.compared],
            ),
            # a list that grows with the fits goes by file, not by the command line
            files=SECTIONS.path(
                "compared",
                {
                    **JOINED,
                    "checkpoints": [
                        kept(f"evidence.{Path(x).stem}") for x in JOINED["evidence"]
                    ],
                },
            ),
            starts=PLAN.comparison["starts"],
            uses=lambda wc: PLAN.uses(*(PLAN.fits[fit] for fit in PLAN.compared_fits)),
            seed=PLAN.seed,
            code=code("compare_fits", of_fits=True),
        shell:
            "python -m pipeline compare_fits --groups={params.groups:q} --files={params.files:q}"
            " --starts={params.starts:q} --seed={params.seed:q} --output={output:q} > {log:q} 2>&1"

    rule plot_models:
        input:
            "<results>/comparison/models.json",
        output:
            **figure("models", "models", "Models", "models compared"),
        log:
            "<logs>/plot_models.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            code=code("plot_models"),
        shell:
            "python -m pipeline plot_models --models={input:q} --output={output.png:q} > {log:q} 2>&1"


if PLAN.freeform:
    FREEFORM = PLAN.freeform_groups()

    rule average_freeform:
        input:
            samples=[part["samples"] for group in FREEFORM for part in group["fits"]],
            evidence=[part["evidence"] for group in FREEFORM for part in group["fits"]],
        output:
            "<results>/comparison/freeform.json",
        log:
            "<logs>/average_freeform.log",
        benchmark:
            "<benchmarks>/average_freeform.jsonl"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=1500,
        params:
            groups=SECTIONS.path("freeform", FREEFORM),
            seed=PLAN.seed,
            code=code("average_freeform", of_fits=True),
        shell:
            "python -m pipeline average_freeform --groups={params.groups:q} --seed={params.seed:q} --output={output:q}"
            " > {log:q} 2>&1"

    rule plot_freeform:
        input:
            "<results>/comparison/freeform.json",
        output:
            **figure("freeform", "freeform", "Models", "free-form primordial spectrum"),
        log:
            "<logs>/plot_freeform.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            code=code("plot_freeform"),
        shell:
            "python -m pipeline plot_freeform --average={input:q} --output={output.png:q} > {log:q} 2>&1"


if PLAN.predictive:
    PREDICTIVE = [
        f"{PLAN.folder}/comparison/predictive_{fit}.json" for fit in PLAN.fits
    ]

    rule check_predictive:
        input:
            **posterior(samples="<results>/chains/{fit}.samples.h5"),
        output:
            **figure("predictive_{fit}", "predictive", "Fits", "posterior predictive"),
            json="<results>/comparison/predictive_{fit}.json",
        log:
            "<logs>/check_predictive/{fit}.log",
        benchmark:
            "<benchmarks>/check_predictive/{fit}.jsonl"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=fit_memory,
        params:
            fit=lambda wc: FITS[wc.fit],
            uses=uses,
            draws=PLAN.predictive["draws"],
            seed=PLAN.seed,
            code=code("check_predictive", of_fits=True),
        shell:
            "python -m pipeline check_predictive --name={wildcards.fit:q} --fit={params.fit:q}"
            " --samples={input.samples:q} --draws={params.draws:q} --seed={params.seed:q} --figure={output.png:q}"
            " --output={output.json:q} > {log:q} 2>&1"

    rule join_predictive:
        input:
            PREDICTIVE,
        output:
            "<results>/comparison/predictive.json",
        log:
            "<logs>/join_predictive.log",
        localrule: True
        conda:
            ENVIRONMENT
        params:
            parts=SECTIONS.path("predictive", PREDICTIVE),
            code=code("join_predictive"),
        shell:
            "python -m pipeline join_predictive --parts={params.parts:q} --output={output:q} > {log:q} 2>&1"


if PLAN.pairs:

    rule measure_tension:
        input:
            manifest=MANIFEST,
        output:
            "<results>/comparison/tension.json",
        log:
            "<logs>/measure_tension.log",
        benchmark:
            "<benchmarks>/measure_tension.jsonl"
        conda:
            ENVIRONMENT
        threads: 1
        params:
            pairs=SECTIONS.path(
                "tension", {name: pair.describe() for name, pair in PLAN.pairs.items()}
            ),
            uses=PLAN.tension_uses(),
            seed=PLAN.seed,
            code=code("measure_tension", of_fits=True),
        shell:
            "python -m pipeline measure_tension --pairs={params.pairs:q} --seed={params.seed:q} --output={output:q}"
            " > {log:q} 2>&1"

    rule plot_tension:
        input:
            "<results>/comparison/tension.json",
        output:
            **figure("tension", "tension", "Models", "data sets against each other"),
        log:
            "<logs>/plot_tension.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            code=code("plot_tension"),
        shell:
            "python -m pipeline plot_tension --tension={input:q} --output={output.png:q} > {log:q} 2>&1"
