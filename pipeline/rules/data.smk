# Data: registered files, verified, copied into the run's directory.


rule fetch_data:
    output:
        "<results>/data/{name}",
    log:
        "<logs>/fetch_data/{name}.log",
    retries: 2
    localrule: True
    conda:
        ENVIRONMENT
    params:
        sha256=lambda wc: data_hash(wc.name),
        code=code("fetch_data"),
    shell:
        "python -m pipeline fetch_data --name={wildcards.name:q} --output={output:q} > {log:q} 2>&1"
