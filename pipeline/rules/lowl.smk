# Low-l TT: the pixel likelihood of the WMAP maps, beside the published low-l TT.


rule prepare_lowl:
    input:
        maps=[data_file(name) for name in LOWL_MAPS],
        fiducial="<results>/theory/fiducial.txt",
    output:
        lowl="<results>/spectra/lowl.json",
        checks="<results>/checks/lowl.json",
    log:
        "<logs>/prepare_lowl.log",
    benchmark:
        "<benchmarks>/prepare_lowl.jsonl"
    conda:
        ENVIRONMENT
    params:
        sha256=[data_hash(name) for name in LOWL_MAPS],
        code=code("prepare_lowl"),
    shell:
        "python -m pipeline prepare_lowl --map-v={input.maps[0]:q} --map-w={input.maps[1]:q} --mask={input.maps[2]:q} --sha256 {params.sha256:q}"
        " --unit=mK --coord=G --fiducial={input.fiducial:q} --output={output.lowl:q} --checks={output.checks:q} > {log:q} 2>&1"


rule plot_lowl:
    input:
        "<results>/spectra/lowl.json",
    output:
        **figure("lowl", "lowl", "Spectra", "low-l TT"),
        **figure("lowl_maps", "lowl_maps", "Maps", "low-l map and templates", "map_"),
    log:
        "<logs>/plot_lowl.log",
    priority: 10
    conda:
        ENVIRONMENT
    params:
        code=code("plot_lowl"),
    shell:
        "python -m pipeline plot_lowl --lowl={input:q} --output={output.png:q} --map-output={output.map_png:q} > {log:q} 2>&1"
