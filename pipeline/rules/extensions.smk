# Extensions: Boltzmann runs with parameters beyond LCDM, and the corrections of the emulator that learn from them.


DESIGNS = {
    name: SECTIONS.path(f"design.{name}", design)
    for name, design in PLAN.extensions.items()
}


def extension_chunks(wildcards):
    design = PLAN.extensions[wildcards.extension]
    backgrounds = design["n_backgrounds"] + design.get("n_focus", 0)
    chunks = -(-backgrounds // design["per_chunk"])
    folder = f"{PLAN.folder}/theory/extensions/{wildcards.extension}"
    return [f"{folder}/chunk_{i}.npz" for i in range(chunks)]


rule compute_extension:
    output:
        "<results>/theory/extensions/{extension}/chunk_{chunk}.npz",
    log:
        "<logs>/compute_extension/{extension}_{chunk}.log",
    benchmark:
        "<benchmarks>/compute_extension/{extension}_{chunk}.jsonl"
    conda:
        ENVIRONMENT
    params:
        design=lambda wc: DESIGNS[wc.extension],
        camb=CAMB,
        checkpoint=lambda wc: kept(f"{wc.extension}.chunk_{wc.chunk}"),
        code=code("compute_theory"),
    shell:
        "python -m pipeline compute_theory --design={params.design:q} --camb={params.camb:q} --chunk={wildcards.chunk:q}"
        " --code={params.code:q} --checkpoint={params.checkpoint:q} --output={output:q} > {log:q} 2>&1"


rule compare_finetuning:
    input:
        manifest=MANIFEST,
        chunks=extension_chunks,
    output:
        json="<results>/theory/finetuning_{extension}.json",
        png="<results>/figures/finetuning_{extension}.png",
        pdf="<results>/figures/finetuning_{extension}.pdf",
        csv="<results>/figures/finetuning_{extension}.csv",
    log:
        "<logs>/compare_finetuning/{extension}.log",
    benchmark:
        "<benchmarks>/compare_finetuning/{extension}.jsonl"
    conda:
        ENVIRONMENT
    threads: 4
    params:
        held_out=PLAN.held_out,
        checkpoint=lambda wc: kept(f"{wc.extension}.finetuning"),
        code=code("compare_finetuning"),
    shell:
        "python -m pipeline compare_finetuning --base={input.manifest:q} --chunks {input.chunks:q} --held-out={params.held_out:q}"
        " --code={params.code:q} --checkpoint={params.checkpoint:q} --table={output.json:q} --output={output.png:q} > {log:q} 2>&1"


rule finetune_emulator:
    input:
        manifest=MANIFEST,
        chunks=extension_chunks,
    output:
        manifest="<results>/theory/emulator_{extension}/manifest.json",
        arrays="<results>/theory/emulator_{extension}/arrays.safetensors",
    log:
        "<logs>/finetune_emulator/{extension}.log",
    benchmark:
        "<benchmarks>/finetune_emulator/{extension}.jsonl"
    conda:
        ENVIRONMENT
    params:
        held_out=PLAN.held_out,
        design=lambda wc: DESIGNS[wc.extension],
        camb=CAMB,
        checkpoints=lambda wc: [
            kept(f"{wc.extension}.{Path(x).stem}") for x in extension_chunks(wc)
        ],
        code=code("finetune_emulator"),
    shell:
        "python -m pipeline finetune_emulator --base={input.manifest:q} --chunks {input.chunks:q} --held-out={params.held_out:q}"
        " --design={params.design:q} --camb={params.camb:q} --checkpoints {params.checkpoints:q} --output={output.manifest:q} > {log:q} 2>&1"


rule extensions:
    input:
        expand(
            "<results>/figures/finetuning_{extension}.png", extension=PLAN.extensions
        ),
        expand(
            "<results>/theory/emulator_{extension}/manifest.json",
            extension=PLAN.extensions,
        ),
