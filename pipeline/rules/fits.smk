# Fits: independent chains, joined, summarised and checked.


rule sample_posterior:
    input:
        manifest=MANIFEST,
        own=lambda wc: own_spectra(wc.fit),
        transfer=transfer_of,
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
        gpu=1 if config["device"] == "cuda" else 0,
        mem_mb=fit_memory,
    params:
        fit=lambda wc: as_json(FITS[wc.fit]),
        transfer=transfer_option,
        data=lambda wc: data_hashes(wc.fit),
        device=config["device"],
        seed=SEED,
        code=code("sample_posterior"),
        checkpoint=lambda wc: f"results/{config['run']['name']}/checkpoints/{wc.fit}.ensemble{wc.ensemble}",
    shell:
        "python -m pipeline.sample_posterior --fit {params.fit:q} --emulator $(dirname {input.manifest})"
        " {params.transfer}"
        " --device {params.device} --seed {params.seed} {wildcards.ensemble} --code {params.code}"
        " --threads {threads} --checkpoint {params.checkpoint} --output {output} > {log} 2>&1"


rule publish_chains:
    input:
        chains=ensembles,
        manifest=MANIFEST,
        own=lambda wc: own_spectra(wc.fit),
        transfer=transfer_of,
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
        fit=lambda wc: as_json(FITS[wc.fit]),
        transfer=transfer_option,
        code=code("publish_chains"),
    shell:
        "python -m pipeline.publish_chains --fit {params.fit:q} --emulator $(dirname {input.manifest})"
        " {params.transfer}"
        " --chains {input.chains} --samples {output.samples} --getdist-root {output.getdist}/{wildcards.fit}"
        " --arviz {output.arviz} --summary {output.summary} --checks {output.checks} > {log} 2>&1"
