# Fits: independent chains, joined, summarised and checked.


rule sample_posterior:
    input:
        **posterior(),
    output:
        "<results>/chains/{fit}.ensemble{ensemble}.h5",
    log:
        "<logs>/sample_posterior/{fit}.ensemble{ensemble}.log",
    benchmark:
        "<benchmarks>/sample_posterior/{fit}.ensemble{ensemble}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=fit_memory,
    params:
        fit=lambda wc: FITS[wc.fit],
        uses=uses,
        device=PLAN.device,
        seed=PLAN.seed,
        checkpoint=lambda wc: kept(f"{wc.fit}.ensemble{wc.ensemble}"),
        code=chain_code,
    shell:
        "python -m pipeline sample_posterior --fit={params.fit:q}"
        " --device={params.device:q} --seed {params.seed:q} {wildcards.ensemble:q} --code={params.code:q}"
        " --threads={threads:q} --checkpoint={params.checkpoint:q} --output={output:q} > {log:q} 2>&1"


rule publish_chains:
    input:
        **posterior(chains=lambda wc: PLAN.chains(wc.fit)),
    output:
        samples="<results>/chains/{fit}.samples.h5",
        arviz="<results>/chains/{fit}.nc",
        getdist=directory("<results>/chains/getdist/{fit}"),
        summary="<results>/chains/{fit}.summary.json",
        checks="<results>/checks/chains_{fit}.json",
    log:
        "<logs>/publish_chains/{fit}.log",
    benchmark:
        "<benchmarks>/publish_chains/{fit}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=fit_memory,
    params:
        fit=lambda wc: FITS[wc.fit],
        uses=uses,
        seed=PLAN.seed,
        chain_code=chain_code,
        checkpoints=lambda wc: [kept(Path(x).stem) for x in PLAN.chains(wc.fit)],
        code=code("publish_chains", of_fits=True),
    shell:
        "python -m pipeline publish_chains --fit={params.fit:q}"
        " --chains {input.chains:q} --seed={params.seed:q} --chain-code={params.chain_code:q} --checkpoints {params.checkpoints:q}"
        " --samples={output.samples:q} --getdist-root={output.getdist:q}/{wildcards.fit:q}"
        " --arviz={output.arviz:q} --summary={output.summary:q} --checks={output.checks:q} > {log:q} 2>&1"
