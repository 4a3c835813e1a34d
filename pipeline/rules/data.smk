# Data: registered files, verified, linked into the run's directory.


rule fetch_data:
    output:
        "<results>/data/{name}",
    params:
        sha256=lambda wc: data_hash(wc.name),
        code=code("fetch_data"),
    log:
        "<logs>/fetch_data/{name}.log",
    localrule: True
    retries: 2
    conda:
        ENVIRONMENT
    shell:
        "python -m pipeline.fetch_data --name {wildcards.name} --output {output} > {log} 2>&1"
