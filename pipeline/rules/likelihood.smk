# Likelihood: every data set against published numbers.


rule check_likelihood:
    output:
        "<results>/checks/likelihood.json",
    log:
        "<logs>/check_likelihood.log",
    benchmark:
        "<benchmarks>/check_likelihood.jsonl"
    conda:
        ENVIRONMENT
    params:
        reference=as_json(config["likelihood"]["reference"]),
        code=code("check_likelihood"),
    shell:
        "python -m pipeline.check_likelihood --reference {params.reference:q} --output {output} > {log} 2>&1"
