# Comparison: evidences, models of the same data in one table, predictive checks, data sets against each other.
from dataclasses import asdict

from cmbfit.inference.model_config import models_by_data

COMPARISON = config["comparison"]
GROUPS = stops_the_run(models_by_data)({**config, "fits": {**config["fits"], **FITS}})
MODELS = {model.name: model for group in GROUPS for model in group}
COMPARED = [group for group in GROUPS if len(group) > 1]
COMPARED_MODELS = [model.name for group in COMPARED for model in group]
COMPARED_FITS = [name for name in COMPARED_MODELS if name in FITS]
EVIDENCES = (
    [f"<results>/evidence/{model}.json" for model in COMPARED_MODELS]
    if COMPARISON["evidence"]
    else []
)
NESTED = bool(COMPARISON["evidence"]) and COMPARISON["evidence"]["method"] == "nested"
OF_CHAINS = bool(COMPARISON["evidence"]) and COMPARISON["evidence"]["method"] == "chain"
PREDICTIVE = bool(COMPARISON["predictive"])
PAIRS = COMPARISON["tension"]

COMPARISON_PRODUCTS = {
    **({"models": "<results>/comparison/models.json"} if COMPARED else {}),
    **({"predictive": "<results>/comparison/predictive.json"} if PREDICTIVE else {}),
    **({"tension": "<results>/comparison/tension.json"} if PAIRS else {}),
}
COMPARISON_FIGURES = [
    *(["<results>/figures/models.png"] if COMPARED else []),
    *(
        [f"<results>/figures/predictive_{fit}.png" for fit in FITS]
        if PREDICTIVE
        else []
    ),
    *(["<results>/figures/tension.png"] if PAIRS else []),
]


wildcard_constraints:
    model="|".join(MODELS),


rule compute_evidence:
    input:
        manifest=MANIFEST,
        own=lambda wc: own_spectra(MODELS[wc.model].fit_name),
        transfer=lambda wc: (
            [TRANSFER_MANIFEST] if MODELS[wc.model].fit_name in PRIMORDIAL_FITS else []
        ),
        chain=lambda wc: (
            [f"<results>/chains/{MODELS[wc.model].fit_name}.samples.h5"]
            if OF_CHAINS and not MODELS[wc.model].fixed
            else []
        ),
    output:
        **({"samples": "<results>/evidence/{model}.samples.h5"} if NESTED else {}),
        record="<results>/evidence/{model}.json",
    log:
        "<logs>/compute_evidence/{model}.log",
    benchmark:
        "<benchmarks>/compute_evidence/{model}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=1 if config["device"] == "cuda" else 0,
        mem_mb=fit_memory,
    params:
        model=lambda wc: as_json(asdict(MODELS[wc.model])),
        settings=as_json(COMPARISON["evidence"]),
        transfer=transfer_option,
        chain=lambda wc, input: f"--samples {input.chain}" if input.chain else "",
        data=lambda wc: data_hashes(MODELS[wc.model].fit_name),
        device=config["device"],
        seed=SEED,
        code=code("compute_evidence"),
        checkpoint=lambda wc: f"results/{config['run']['name']}/checkpoints/evidence.{wc.model}",
    shell:
        "python -m pipeline.compute_evidence --model {params.model:q} --settings {params.settings:q}"
        " --emulator $(dirname {input.manifest}) {params.transfer} {params.chain} --device {params.device} --seed {params.seed}"
        " --checkpoint {params.checkpoint} --output {output.record} > {log} 2>&1"


if COMPARED:

    rule compare_fits:
        input:
            manifest=MANIFEST,
            own=[x for fit in COMPARED_FITS for x in own_spectra(fit)],
            transfer=(
                [TRANSFER_MANIFEST]
                if set(COMPARED_FITS) & set(PRIMORDIAL_FITS)
                else []
            ),
            samples=[f"<results>/chains/{fit}.samples.h5" for fit in COMPARED_FITS],
            summaries=[f"<results>/chains/{fit}.summary.json" for fit in COMPARED_FITS],
            evidence=EVIDENCES,
            look_elsewhere=list(LOOK_PRODUCTS.values()),
            closed=[
                *BLACKBODY_PRODUCTS.values(),
                *([ROTATION_PRODUCTS["birefringence"]] if ROTATION else []),
            ],
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
            mem_mb=2000 + 700 * len(set(COMPARED_FITS) & set(PRIMORDIAL_FITS)),
        params:
            groups=as_json([[asdict(model) for model in group] for group in COMPARED]),
            fits=COMPARED_FITS,
            transfer=transfer_option,
            searched=lambda wc, input: (
                f"--look-elsewhere {input.look_elsewhere}"
                if input.look_elsewhere
                else ""
            ),
            closed=lambda wc, input: f"--closed {input.closed}" if input.closed else "",
            starts=COMPARISON["starts"],
            data=[data_hashes(fit) for fit in COMPARED_FITS],
            seed=SEED,
            code=code("compare_fits"),
        shell:
            "python -m pipeline.compare_fits --groups {params.groups:q} --emulator $(dirname {input.manifest})"
            " {params.transfer} --fits {params.fits} --samples {input.samples} --summaries {input.summaries}"
            " --evidence {input.evidence} {params.searched} {params.closed} --starts {params.starts} --seed {params.seed}"
            " --output {output} > {log} 2>&1"

    rule plot_models:
        input:
            "<results>/comparison/models.json",
        output:
            png=report(
                "<results>/figures/models.png",
                caption="../report/models.rst",
                category="Models",
                labels={"figure": "models compared"},
            ),
            pdf="<results>/figures/models.pdf",
            csv="<results>/figures/models.csv",
        log:
            "<logs>/plot_models.log",
        conda:
            ENVIRONMENT
        params:
            code=code("plot_models"),
        shell:
            "stem={output.png}; python -m pipeline.plot_models --models {input}"
            " --output ${{stem%.png}} > {log} 2>&1"


if PREDICTIVE:

    rule check_predictive:
        input:
            manifest=MANIFEST,
            own=lambda wc: own_spectra(wc.fit),
            transfer=transfer_of,
            samples="<results>/chains/{fit}.samples.h5",
        output:
            json="<results>/comparison/predictive_{fit}.json",
            png=report(
                "<results>/figures/predictive_{fit}.png",
                caption="../report/predictive.rst",
                category="Fits",
                labels={"figure": "posterior predictive", "fit": "{fit}"},
            ),
            pdf="<results>/figures/predictive_{fit}.pdf",
            csv="<results>/figures/predictive_{fit}.csv",
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
            fit=lambda wc: as_json(FITS[wc.fit]),
            transfer=transfer_option,
            draws=COMPARISON["predictive"]["draws"],
            seed=SEED,
            code=code("check_predictive"),
        shell:
            "stem={output.png}; python -m pipeline.check_predictive --name {wildcards.fit} --fit {params.fit:q}"
            " --emulator $(dirname {input.manifest}) {params.transfer} --samples {input.samples}"
            " --draws {params.draws} --seed {params.seed} --figure ${{stem%.png}} --output {output.json} > {log} 2>&1"

    rule join_predictive:
        input:
            [f"<results>/comparison/predictive_{fit}.json" for fit in FITS],
        output:
            "<results>/comparison/predictive.json",
        log:
            "<logs>/join_predictive.log",
        localrule: True
        conda:
            ENVIRONMENT
        params:
            code=code("join_predictive"),
        shell:
            "python -m pipeline.join_predictive --parts {input} --output {output} > {log} 2>&1"


if PAIRS:

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
            pairs=as_json(tension_pairs()),
            seed=SEED,
            code=code("measure_tension"),
        shell:
            "python -m pipeline.measure_tension --pairs {params.pairs:q} --emulator $(dirname {input.manifest})"
            " --seed {params.seed} --output {output} > {log} 2>&1"

    rule plot_tension:
        input:
            "<results>/comparison/tension.json",
        output:
            png=report(
                "<results>/figures/tension.png",
                caption="../report/tension.rst",
                category="Models",
                labels={"figure": "data sets against each other"},
            ),
            pdf="<results>/figures/tension.pdf",
            csv="<results>/figures/tension.csv",
        log:
            "<logs>/plot_tension.log",
        conda:
            ENVIRONMENT
        params:
            code=code("plot_tension"),
        shell:
            "stem={output.png}; python -m pipeline.plot_tension --tension {input}"
            " --output ${{stem%.png}} > {log} 2>&1"
