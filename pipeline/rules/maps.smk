# Maps: masks and Stokes I, Q, U made ready, every step recorded in the product.


rule prepare_mask:
    input:
        mask=data_file(config["maps"]["mask"]),
    output:
        "<results>/maps/mask.fits",
    log:
        "<logs>/prepare_mask.log",
    benchmark:
        "<benchmarks>/prepare_mask.jsonl"
    conda:
        ENVIRONMENT
    params:
        declared=declared("coord", "ordering"),
        apodisation=config["maps"]["apodisation"],
        code=code("prepare_mask"),
    shell:
        "python -m pipeline.prepare_mask --mask {input.mask} {params.declared}"
        " --apodisation-deg {params.apodisation[degrees]} --apodisation-type {params.apodisation[type]}"
        " --output {output} > {log} 2>&1"


rule prepare_maps:
    input:
        map=lambda wc: data_file(BANDS[wc.band]["map"]),
        mask="<results>/maps/mask.fits",
    output:
        "<results>/maps/{band}.fits",
    log:
        "<logs>/prepare_maps/{band}.log",
    benchmark:
        "<benchmarks>/prepare_maps/{band}.jsonl"
    conda:
        ENVIRONMENT
    params:
        declared=declared("coord", "ordering", "unit", "polcconv"),
        code=code("prepare_maps"),
    shell:
        "python -m pipeline.prepare_maps --map {input.map} --mask {input.mask} --band {wildcards.band}"
        " {params.declared} --output {output} > {log} 2>&1"
