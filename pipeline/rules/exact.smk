# Exact theory after a fit: CAMB at points of its chain judges the emulator and re-weights the chain.


# last of what is ready: all figures but this check's own stand before it
rule compute_exact:
    input:
        samples="<results>/chains/{fit}.samples.h5",
        manifest=MANIFEST,
        transfer=lambda wc: PLAN.transfer_of(wc.fit),
    output:
        "<results>/theory/exact/{fit}.part{part}.npz",
    log:
        "<logs>/compute_exact/{fit}.part{part}.log",
    benchmark:
        "<benchmarks>/compute_exact/{fit}.part{part}.jsonl"
    wildcard_constraints:
        part="|".join(map(str, range(PLAN.exact_parts))),
    priority: -10
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: FITS[wc.fit],
        uses=uses,
        draws=PLAN.marks["draws"],
        first=PLAN.exact_first,
        parts=PLAN.exact_parts,
        seed=PLAN.seed,
        checkpoint=lambda wc: kept(f"{wc.fit}.exact{wc.part}"),
        code=code("compute_exact", of_fits=True),
    shell:
        "python -m pipeline compute_exact --samples={input.samples:q} --fit={params.fit:q}"
        " --draws={params.draws:q} --first={params.first:q} --part {wildcards.part:q} {params.parts:q} --seed {params.seed:q}"
        " --code={params.code:q}.{params.uses:q} --checkpoint={params.checkpoint:q} --output={output:q} > {log:q} 2>&1"


if PLAN.sequential:

    rule extend_exact:
        input:
            **posterior(
                exact=lambda wc: PLAN.exact_parts_of(wc.fit),
                samples="<results>/chains/{fit}.samples.h5",
            ),
        output:
            spectra="<results>/theory/exact/{fit}.further.npz",
            decision="<results>/theory/exact/{fit}.decision.json",
        log:
            "<logs>/extend_exact/{fit}.log",
        benchmark:
            "<benchmarks>/extend_exact/{fit}.jsonl"
        priority: -10
        conda:
            ENVIRONMENT
        resources:
            mem_mb=fit_memory,
        params:
            fit=lambda wc: FITS[wc.fit],
            uses=uses,
            marks=MARKS,
            seed=PLAN.seed,
            checkpoint=lambda wc: kept(f"{wc.fit}.further"),
            code=code("extend_exact", of_fits=True),
        shell:
            "python -m pipeline extend_exact --exact {input.exact:q} --samples={input.samples:q} --fit={params.fit:q}"
            " --marks={params.marks:q} --seed {params.seed:q} --code={params.code:q}.{params.uses:q}"
            " --checkpoint={params.checkpoint:q} --decision={output.decision:q} --output={output.spectra:q} > {log:q} 2>&1"


rule check_emulator:
    input:
        **posterior(
            exact=lambda wc: PLAN.exact(wc.fit),
            samples="<results>/chains/{fit}.samples.h5",
        ),
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
        fit=lambda wc: FITS[wc.fit],
        uses=uses,
        marks=MARKS,
        seed=PLAN.seed,
        checkpoints=lambda wc: [
            *(kept(f"{wc.fit}.exact{i}") for i in range(PLAN.exact_parts)),
            kept(f"{wc.fit}.further"),
        ],
        code=code("check_emulator", of_fits=True),
    shell:
        "python -m pipeline check_emulator --exact {input.exact:q} --samples={input.samples:q} --fit={params.fit:q}"
        " --marks={params.marks:q} --seed {params.seed:q} --errors={output.errors:q} --checkpoints {params.checkpoints:q} --output={output.checks:q} > {log:q} 2>&1"


rule reweight:
    input:
        **posterior(
            exact=lambda wc: PLAN.exact(wc.fit),
            samples="<results>/chains/{fit}.samples.h5",
            decision=lambda wc: PLAN.decision(wc.fit),
        ),
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
        fit=lambda wc: FITS[wc.fit],
        uses=uses,
        marks=MARKS,
        seed=PLAN.seed,
        decision=lambda wc: [
            w for x in PLAN.decision(wc.fit) for w in words(decision=x)
        ],
        code=code("reweight", of_fits=True),
    shell:
        "python -m pipeline reweight --exact {input.exact:q} --samples={input.samples:q} --fit={params.fit:q}"
        " --marks={params.marks:q} --seed {params.seed:q} --record={output.record:q}"
        " --getdist-root={output.getdist:q}/{wildcards.fit:q}_reweighted {params.decision:q} --output={output.checks:q} > {log:q} 2>&1"
