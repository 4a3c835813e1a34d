# Theory: the fiducial spectra, the emulator (shipped, or trained here from CAMB runs) and its errors.


CHUNKS = expand(
    "<results>/theory/training/chunk_{chunk}.npz", chunk=range(PLAN.n_chunks)
)
DESIGN = SECTIONS.path("design", PLAN.train["design"] if PLAN.train else {})


rule compute_fiducial:
    output:
        "<results>/theory/fiducial.txt",
    log:
        "<logs>/compute_fiducial.log",
    benchmark:
        "<benchmarks>/compute_fiducial.jsonl"
    conda:
        ENVIRONMENT
    params:
        parameters=SECTIONS.path("fiducial", PLAN.theory["fiducial"]),
        camb=CAMB,
        code=code("compute_fiducial"),
    shell:
        "python -m pipeline compute_fiducial --parameters={params.parameters:q} --camb={params.camb:q} --output={output:q}"
        " > {log:q} 2>&1"


rule compute_theory:
    output:
        "<results>/theory/training/chunk_{chunk}.npz",
    log:
        "<logs>/compute_theory/{chunk}.log",
    benchmark:
        "<benchmarks>/compute_theory/{chunk}.jsonl"
    wildcard_constraints:
        chunk="|".join(map(str, range(PLAN.n_chunks))) or "none",
    conda:
        ENVIRONMENT
    params:
        design=DESIGN,
        camb=CAMB,
        checkpoint=lambda wc: kept(f"training.chunk_{wc.chunk}"),
        code=code("compute_theory"),
    shell:
        "python -m pipeline compute_theory --design={params.design:q} --camb={params.camb:q} --chunk={wildcards.chunk:q}"
        " --code={params.code:q} --checkpoint={params.checkpoint:q} --output={output:q} > {log:q} 2>&1"


if PLAN.train:

    include: "training.smk"


if PLAN.extensions:

    include: "extensions.smk"
