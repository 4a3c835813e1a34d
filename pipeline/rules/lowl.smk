# Low-l TT: the pixel likelihood of the WMAP maps, beside the published low-l TT.


LOWL_MAPS = [
    f"wmap7/wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits" for band in "VW"
] + ["wmap7/wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits"]
LOWL_CHECKS = ["<results>/checks/lowl.json"]
LOWL_FIGURES = ["<results>/figures/lowl.png", "<results>/figures/lowl_maps.png"]


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
        "python -m pipeline.prepare_lowl --map-v {input.maps[0]} --map-w {input.maps[1]} --mask {input.maps[2]}"
        " --sha256 {params.sha256} --unit mK --coord G --fiducial {input.fiducial}"
        " --output {output.lowl} --checks {output.checks} > {log} 2>&1"


rule plot_lowl:
    input:
        "<results>/spectra/lowl.json",
    output:
        png=report(
            "<results>/figures/lowl.png",
            caption="../report/lowl.rst",
            category="Spectra",
            labels={"figure": "low-l TT"},
        ),
        pdf="<results>/figures/lowl.pdf",
        csv="<results>/figures/lowl.csv",
        map_png=report(
            "<results>/figures/lowl_maps.png",
            caption="../report/lowl_maps.rst",
            category="Maps",
            labels={"figure": "low-l map and templates"},
        ),
        map_pdf="<results>/figures/lowl_maps.pdf",
        map_csv="<results>/figures/lowl_maps.csv",
    log:
        "<logs>/plot_lowl.log",
    conda:
        ENVIRONMENT
    params:
        code=code("plot_lowl"),
    shell:
        "stem={output.png}; maps={output.map_png}; python -m pipeline.plot_lowl --lowl {input}"
        " --output ${{stem%.png}} --map-output ${{maps%.png}} > {log} 2>&1"
