# Exact theory after a fit: CAMB at points of its chain judges the emulator and re-weights the chain.

EXACT_PARTS = config["theory"]["emulator"]["check"]["parts"]


rule compute_exact:
    input:
        samples="<results>/chains/{fit}.samples.h5",
        manifest=MANIFEST,
        transfer=transfer_of,
    output:
        "<results>/theory/exact/{fit}.part{part}.npz",
    log:
        "<logs>/compute_exact/{fit}.part{part}.log",
    benchmark:
        "<benchmarks>/compute_exact/{fit}.part{part}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: as_json(FITS[wc.fit]),
        transfer=transfer_option,
        draws=EMULATOR["check"]["draws"],
        parts=EXACT_PARTS,
        seed=SEED,
        code=code("compute_exact"),
    shell:
        "python -m pipeline.compute_exact --samples {input.samples} --emulator $(dirname {input.manifest})"
        " --fit {params.fit:q} {params.transfer}"
        " --draws {params.draws} --part {wildcards.part} {params.parts} --seed {params.seed}"
        " --output {output} > {log} 2>&1"


rule check_emulator:
    input:
        exact=exact_parts,
        manifest=MANIFEST,
        own=lambda wc: own_spectra(wc.fit),
        transfer=transfer_of,
    output:
        checks="<results>/checks/emulator_{fit}.json",
        errors="<results>/theory/emulator_errors_{fit}.json",
    log:
        "<logs>/check_emulator/{fit}.log",
    benchmark:
        "<benchmarks>/check_emulator/{fit}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: as_json(FITS[wc.fit]),
        transfer=transfer_option,
        marks=as_json(EMULATOR["check"]),
        code=code("check_emulator"),
    shell:
        "python -m pipeline.check_emulator --emulator $(dirname {input.manifest}) --exact {input.exact}"
        " {params.transfer}"
        " --fit {params.fit:q} --marks {params.marks:q} --errors {output.errors} --output {output.checks}"
        " > {log} 2>&1"


rule reweight:
    input:
        exact=exact_parts,
        samples="<results>/chains/{fit}.samples.h5",
        manifest=MANIFEST,
        own=lambda wc: own_spectra(wc.fit),
        transfer=transfer_of,
    output:
        record="<results>/chains/{fit}.reweight.json",
        getdist=directory("<results>/chains/getdist/{fit}_reweighted"),
        checks="<results>/checks/reweight_{fit}.json",
    log:
        "<logs>/reweight/{fit}.log",
    benchmark:
        "<benchmarks>/reweight/{fit}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: as_json(FITS[wc.fit]),
        transfer=transfer_option,
        marks=as_json(EMULATOR["check"]),
        seed=SEED,
        code=code("reweight"),
    shell:
        "python -m pipeline.reweight --emulator $(dirname {input.manifest}) --exact {input.exact}"
        " {params.transfer}"
        " --samples {input.samples} --fit {params.fit:q} --marks {params.marks:q} --record {output.record}"
        " --seed {params.seed} --getdist-root {output.getdist}/{wildcards.fit}_reweighted --output {output.checks} > {log} 2>&1"
