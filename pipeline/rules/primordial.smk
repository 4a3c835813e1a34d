# Primordial models: transfer functions around a fit, from which any P(k) gives spectra.

TRANSFER = config["theory"].get("transfer", {})
TRANSFER_PARTS = TRANSFER.get("parts", 5)
PRIMORDIAL_FITS = [fit for fit in FITS if "primordial" in FITS[fit].get("theory", {})]
TRANSFER_MANIFEST = "<results>/theory/transfer/manifest.json"

TENSORS = any("tensors" in FITS[fit]["theory"] for fit in PRIMORDIAL_FITS)

OWN_TRANSFER = [f for f in PRIMORDIAL_FITS if "transfer" not in FITS[f]["theory"]]

if OWN_TRANSFER and not TRANSFER:
    raise WorkflowError(
        f"fit {OWN_TRANSFER[0]} has a primordial model: say with theory.transfer how its transfer functions are made"
        " (pipeline/config/early_universe.yaml)"
    )


rule compute_transfer_centre:
    input:
        manifest=MANIFEST,
    output:
        temp("<results>/theory/transfer_runs/centre.safetensors"),
    log:
        "<logs>/compute_transfer_centre.log",
    benchmark:
        "<benchmarks>/compute_transfer_centre.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=6500,
    params:
        plan=as_json(TRANSFER),
        code=code("compute_transfer"),
    shell:
        "python -m pipeline.compute_transfer --plan {params.plan:q} --emulator {input.manifest}"
        " --output {output} > {log} 2>&1"


rule compute_transfer:
    input:
        manifest=MANIFEST,
        centre="<results>/theory/transfer_runs/centre.safetensors",
    output:
        temp("<results>/theory/transfer_runs/part{part}.safetensors"),
    log:
        "<logs>/compute_transfer/part{part}.log",
    benchmark:
        "<benchmarks>/compute_transfer/part{part}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
    params:
        plan=as_json(TRANSFER),
        parts=TRANSFER_PARTS,
        code=code("compute_transfer"),
    shell:
        "python -m pipeline.compute_transfer --plan {params.plan:q} --emulator {input.manifest}"
        " --centre {input.centre} --part {wildcards.part} {params.parts} --output {output} > {log} 2>&1"


rule join_transfer:
    input:
        manifest=MANIFEST,
        centre="<results>/theory/transfer_runs/centre.safetensors",
        parts=expand(
            "<results>/theory/transfer_runs/part{part}.safetensors",
            part=range(TRANSFER_PARTS),
        ),
    output:
        **(
            {"tensors": directory("<results>/theory/transfer/tensors")}
            if TENSORS
            else {}
        ),
        manifest=TRANSFER_MANIFEST,
        arrays="<results>/theory/transfer/arrays.safetensors",
    log:
        "<logs>/join_transfer.log",
    benchmark:
        "<benchmarks>/join_transfer.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2500,
    params:
        plan=as_json(TRANSFER),
        tensors="--tensors" if TENSORS else "",
        code=code("join_transfer"),
    shell:
        "python -m pipeline.join_transfer --plan {params.plan:q} --emulator {input.manifest} {params.tensors}"
        " --centre {input.centre} --parts {input.parts} --output $(dirname {output.manifest}) > {log} 2>&1"


rule plot_primordial:
    input:
        samples="<results>/chains/{fit}.samples.h5",
        summary="<results>/chains/{fit}.summary.json",
        manifest=MANIFEST,
        transfer=transfer_of,
        own=lambda wc: own_spectra(wc.fit),
    output:
        png=report(
            "<results>/figures/primordial_{fit}.png",
            caption="../report/primordial.rst",
            category="Fits",
            labels={"figure": "primordial spectrum and imprint", "fit": "{fit}"},
        ),
        pdf="<results>/figures/primordial_{fit}.pdf",
        csv="<results>/figures/primordial_{fit}.csv",
    log:
        "<logs>/plot_primordial/{fit}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: as_json(FITS[wc.fit]),
        code=code("plot_primordial"),
    shell:
        "stem={output.png}; python -m pipeline.plot_primordial --samples {input.samples} --summary {input.summary}"
        " --fit {params.fit:q} --emulator $(dirname {input.manifest}) --transfer $(dirname {input.transfer})"
        " --output ${{stem%.png}} > {log} 2>&1"
