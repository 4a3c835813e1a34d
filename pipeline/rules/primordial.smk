# Primordial models: transfer functions around a fit, from which any P(k) gives spectra.


EXPANSION = SECTIONS.path("transfer", PLAN.transfer)
CENTRE = "<results>/theory/transfer_runs/centre.safetensors"


rule compute_transfer_centre:
    input:
        manifest=MANIFEST,
    output:
        temp(CENTRE),
    log:
        "<logs>/compute_transfer_centre.log",
    benchmark:
        "<benchmarks>/compute_transfer_centre.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=6500,
    params:
        plan=EXPANSION,
        checkpoint=kept("transfer.centre"),
        code=code("compute_transfer"),
    shell:
        "python -m pipeline compute_transfer --plan={params.plan:q} --emulator={input.manifest:q} --code={params.code:q}"
        " --checkpoint={params.checkpoint:q} --output={output:q} > {log:q} 2>&1"


rule compute_transfer:
    input:
        manifest=MANIFEST,
        centre=CENTRE,
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
        plan=EXPANSION,
        parts=PLAN.transfer_parts,
        checkpoint=lambda wc: kept(f"transfer.part{wc.part}"),
        code=code("compute_transfer"),
    shell:
        "python -m pipeline compute_transfer --plan={params.plan:q} --emulator={input.manifest:q} --centre={input.centre:q}"
        " --part {wildcards.part:q} {params.parts:q} --code={params.code:q} --checkpoint={params.checkpoint:q} --output={output:q}"
        " > {log:q} 2>&1"


rule join_transfer:
    input:
        manifest=MANIFEST,
        centre=CENTRE,
        parts=expand(
            "<results>/theory/transfer_runs/part{part}.safetensors",
            part=range(PLAN.transfer_parts),
        ),
    output:
        **(
            {"tensors": directory("<results>/theory/transfer/tensors")}
            if PLAN.tensors
            else {}
        ),
        manifest=PLAN.transfer_manifest,
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
        plan=EXPANSION,
        tensors=["--tensors"] if PLAN.tensors else [],
        checkpoints=[
            kept(f"transfer.{x}")
            for x in ("centre", *(f"part{i}" for i in range(PLAN.transfer_parts)))
        ],
        code=code("join_transfer"),
    shell:
        "python -m pipeline join_transfer --plan={params.plan:q} --emulator={input.manifest:q} {params.tensors:q} --centre={input.centre:q}"
        " --parts {input.parts:q} --checkpoints {params.checkpoints:q} --output={output.manifest:q} > {log:q} 2>&1"


rule plot_primordial:
    input:
        **posterior(
            samples="<results>/chains/{fit}.samples.h5",
            summary="<results>/chains/{fit}.summary.json",
        ),
    output:
        **figure(
            "primordial_{fit}",
            "primordial",
            "Fits",
            "primordial spectrum and imprint",
        ),
    log:
        "<logs>/plot_primordial/{fit}.log",
    priority: 10
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: FITS[wc.fit],
        code=code("plot_primordial"),
    shell:
        "python -m pipeline plot_primordial --samples={input.samples:q} --summary={input.summary:q}"
        " --fit={params.fit:q} --output={output.png:q} > {log:q} 2>&1"


rule plot_learned:
    input:
        **posterior(samples="<results>/chains/{fit}.samples.h5"),
    output:
        **figure("learned_{fit}", "learned", "Fits", "learned against evolved"),
    log:
        "<logs>/plot_learned/{fit}.log",
    conda:
        ENVIRONMENT
    params:
        fit=lambda wc: FITS[wc.fit],
        code=code("plot_learned"),
    shell:
        "python -m pipeline plot_learned --samples={input.samples:q} --fit={params.fit:q} --output={output.png:q} > {log:q} 2>&1"


rule plot_bounce:
    input:
        **posterior(summary="<results>/chains/{fit}.summary.json"),
    output:
        **figure("bounce_{fit}", "bounce", "Fits", "bounce and inflation"),
    log:
        "<logs>/plot_bounce/{fit}.log",
    conda:
        ENVIRONMENT
    params:
        fit=lambda wc: FITS[wc.fit],
        code=code("plot_bounce"),
    shell:
        "python -m pipeline plot_bounce --summary={input.summary:q} --fit={params.fit:q} --output={output.png:q} > {log:q} 2>&1"


# the shipped network's own making: snakemake ... results/<run>/theory/attractor.npz
rule train_surrogate:
    output:
        "<results>/theory/attractor.npz",
    log:
        "<logs>/train_surrogate.log",
    benchmark:
        "<benchmarks>/train_surrogate.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=code("train_surrogate"),
    shell:
        "python -m pipeline train_surrogate --output={output:q} > {log:q} 2>&1"
