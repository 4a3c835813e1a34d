# Survey: many maps. Splits of fields, masks, beams, templates, coefficients, all cross-spectra, nulls.
# Used in place of the two-map rules where the configuration has maps.fields.

EDGES = config["spectra"]["edges"]
EDGES = ["planck", config["spectra"]["lmax_bins"]] if EDGES == "planck" else EDGES


def masks_of(wildcards):
    """Return the masks of a field: of T, and of Q and U where they have their own."""
    return [f"<results>/maps/mask_{m}.fits" for m in SURVEY.masks_of(wildcards.field)]


def mask_options(wildcards, input):
    """Return the masks as the transforms take them."""
    return " ".join(f"{o} {m}" for o, m in zip(("--mask", "--mask-p"), input.masks))


def survey_memory(gigabytes):
    """Return a job's memory [MB], given what it takes for Planck's maps at lmax 2600: maps and matrices go as lmax^2."""
    share = (config["spectra"]["lmax"] / 2600) ** 2
    return lambda wildcards, attempt: int(attempt * (600 + 1000 * gigabytes * share))


rule transform_channel:
    input:
        split="<results>/maps/{channel}.{split}.fits",
        beam="<results>/maps/{channel}.beam.txt",
    output:
        "<results>/alms/channels/{channel}.{split}.h5",
    log:
        "<logs>/transform_channel/{channel}.{split}.log",
    benchmark:
        "<benchmarks>/transform_channel/{channel}.{split}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=survey_memory(4.4),
    params:
        lmax=config["spectra"]["lmax"],
        code=code("transform_channel"),
    shell:
        "python -m pipeline.transform_channel --split {input.split} --beam {input.beam}"
        " --name {wildcards.channel}.{wildcards.split} --lmax {params.lmax} --output {output} > {log} 2>&1"


rule join_channels:
    input:
        alms=lambda wc: [
            SURVEY.channels[c].channel_file(wc.split)
            for c in SURVEY.joined[wc.band].joins
        ],
        splits=lambda wc: [
            SURVEY.channels[c].split_file(wc.split)
            for c in SURVEY.joined[wc.band].joins
        ],
        beams=lambda wc: [
            f"<results>/maps/{c}.beam.txt" for c in SURVEY.joined[wc.band].joins
        ],
    output:
        "<results>/maps/{band}.{split}.fits",
    log:
        "<logs>/join_channels/{band}.{split}.log",
    benchmark:
        "<benchmarks>/join_channels/{band}.{split}.jsonl"
    wildcard_constraints:
        band="|".join(SURVEY.joined) or "none",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=survey_memory(5.7),
    params:
        channels=lambda wc: SURVEY.joined[wc.band].joins,
        fwhm=lambda wc: SURVEY.joined[wc.band].spec["fwhm_arcmin"],
        ranges=lambda wc: as_json(SURVEY.joined[wc.band].spec.get("ranges", {})),
        difference=lambda wc: ("--difference" if wc.band in SURVEY.differences else ""),
        lmax=config["spectra"]["lmax"],
        code=code("join_channels"),
    shell:
        "python -m pipeline.join_channels --alms {input.alms} --splits {input.splits} --beams {input.beams}"
        " --channels {params.channels} --name {wildcards.band}.{wildcards.split} --fwhm-arcmin {params.fwhm}"
        " --ranges {params.ranges:q} {params.difference} --lmax {params.lmax} --output {output} > {log} 2>&1"


rule gaussian_beam:
    output:
        "<results>/maps/{band}.beam.txt",
    log:
        "<logs>/gaussian_beam/{band}.log",
    wildcard_constraints:
        band="|".join(SURVEY.joined) or "none",
    conda:
        ENVIRONMENT
    params:
        fwhm=lambda wc: SURVEY.joined[wc.band].spec["fwhm_arcmin"],
        lmax=config["spectra"]["lmax"],
        code=code("gaussian_beam"),
    shell:
        "python -m pipeline.gaussian_beam --fwhm-arcmin {params.fwhm} --lmax {params.lmax}"
        " --output {output} > {log} 2>&1"


rule prepare_split:
    input:
        maps=lambda wc: [data_file(f) for f in SURVEY.bands[wc.band].maps(wc.split)],
    output:
        "<results>/maps/{band}.{split}.fits",
    log:
        "<logs>/prepare_split/{band}.{split}.log",
    benchmark:
        "<benchmarks>/prepare_split/{band}.{split}.jsonl"
    wildcard_constraints:
        band="|".join(SURVEY.observed),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=survey_memory(6.1),
    params:
        band=lambda wc: as_json(SURVEY.bands[wc.band].spec),
        declared=lambda wc: as_json(SURVEY.bands[wc.band].declared),
        sha256=lambda wc: [data_hash(f) for f in SURVEY.bands[wc.band].maps(wc.split)],
        code=code("prepare_split"),
    shell:
        "python -m pipeline.prepare_split --maps {input.maps} --sha256 {params.sha256}"
        " --name {wildcards.band}.{wildcards.split} --band {params.band:q} --declared {params.declared:q}"
        " --output {output} > {log} 2>&1"


rule prepare_survey_mask:
    input:
        masks=lambda wc: [data_file(f) for f in SURVEY.masks[wc.mask].get("files", [])],
        splits=lambda wc: [
            s
            for f in SURVEY.masked
            if wc.mask in SURVEY.masks_of(f)
            for s in SURVEY.split_files(f)
        ],
    output:
        "<results>/maps/mask_{mask}.fits",
    log:
        "<logs>/prepare_survey_mask/{mask}.log",
    benchmark:
        "<benchmarks>/prepare_survey_mask/{mask}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=survey_memory(3.2),
    params:
        mask=lambda wc: as_json(SURVEY.masks[wc.mask]),
        declared=as_json(config["maps"]["declare"]),
        sha256=lambda wc: [data_hash(f) for f in SURVEY.masks[wc.mask].get("files", [])],
        code=code("prepare_survey_mask"),
    shell:
        "python -m pipeline.prepare_survey_mask --masks {input.masks} --sha256 {params.sha256}"
        " --splits {input.splits} --name {wildcards.mask} --mask {params.mask:q}"
        " --declared {params.declared:q} --output {output} > {log} 2>&1"


rule prepare_beam:
    input:
        beams=lambda wc: [data_file(b["file"]) for b in SURVEY.bands[wc.band].beams],
        window=lambda wc: data_file(SURVEY.pixel_window_of(wc.band)),
    output:
        "<results>/maps/{band}.beam.txt",
    log:
        "<logs>/prepare_beam/{band}.log",
    wildcard_constraints:
        band="|".join(SURVEY.observed),
    conda:
        ENVIRONMENT
    params:
        sha256=lambda wc: [data_hash(b["file"]) for b in SURVEY.bands[wc.band].beams],
        specs=lambda wc: as_json(SURVEY.bands[wc.band].beams),
        weights=lambda wc: [
            1 / d.get("sigma0_uk", 1.0) ** 2
            for d in SURVEY.bands[wc.band].spec["detectors"].values()
        ],
        lmax=lambda wc: (
            SURVEY.cleaning["window"][1]
            if wc.band in SURVEY.templates
            else config["spectra"]["lmax"]
        ),
        code=code("prepare_beam"),
    shell:
        "python -m pipeline.prepare_beam --beams {input.beams} --sha256 {params.sha256}"
        " --specs {params.specs:q} --weights {params.weights} --pixel-window {input.window}"
        " --lmax {params.lmax} --output {output} > {log} 2>&1"


rule transform_split:
    input:
        split="<results>/maps/{field}.{split}.fits",
        masks=masks_of,
    output:
        "<results>/alms/{field}.{split}.h5",
    log:
        "<logs>/transform_split/{field}.{split}.log",
    benchmark:
        "<benchmarks>/transform_split/{field}.{split}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=survey_memory(3.2),
    params:
        masks=mask_options,
        lmax=config["spectra"]["lmax"],
        code=code("transform_split"),
    shell:
        "python -m pipeline.transform_split --split {input.split} {params.masks}"
        " --name {wildcards.field}.{wildcards.split} --lmax {params.lmax} --output {output} > {log} 2>&1"


rule transform_sky:
    input:
        split="<results>/maps/{band}.{split}.fits",
        beam="<results>/maps/{band}.beam.txt",
    output:
        "<results>/alms/sky/{band}.{split}.h5",
    log:
        "<logs>/transform_sky/{band}.{split}.log",
    benchmark:
        "<benchmarks>/transform_sky/{band}.{split}.jsonl"
    conda:
        ENVIRONMENT
    params:
        window=lambda wc: SURVEY.cleaning["window"],
        code=code("transform_sky"),
    shell:
        "python -m pipeline.transform_sky --split {input.split} --beam {input.beam}"
        " --window {params.window} --output {output} > {log} 2>&1"


rule transform_template:
    input:
        own="<results>/alms/sky/{field}.{split}.h5",
        template=lambda wc: "<results>/alms/sky/{}.{}.h5".format(
            wc.template, SURVEY.templates[wc.template].split_of(wc.split)
        ),
        beam="<results>/maps/{field}.beam.txt",
        masks=masks_of,
    output:
        "<results>/alms/{field}.{split}.{template}.h5",
    log:
        "<logs>/transform_template/{field}.{split}.{template}.log",
    benchmark:
        "<benchmarks>/transform_template/{field}.{split}.{template}.jsonl"
    conda:
        ENVIRONMENT
    params:
        cmb=lambda wc: (
            "" if SURVEY.templates[wc.template].spec["has_cmb"] else "--without-cmb"
        ),
        masks=mask_options,
        lmax=config["spectra"]["lmax"],
        code=code("transform_template"),
    shell:
        "python -m pipeline.transform_template --own {input.own} --template {input.template}"
        " --beam {input.beam} {params.cmb} {params.masks} --lmax {params.lmax}"
        " --output {output} > {log} 2>&1"


rule fit_templates:
    input:
        splits=lambda wc: [
            f
            for t in (None, *SURVEY.templates_of(wc.field))
            for make in (SURVEY.split_files, SURVEY.sky_files)
            for f in dict.fromkeys(make(wc.field, t))
        ],
        beams=lambda wc: [
            f"<results>/maps/{b}.beam.txt"
            for b in (wc.field, *SURVEY.templates_of(wc.field))
        ],
        mask=lambda wc: f"<results>/maps/mask_{SURVEY.masks_of(wc.field)[-1]}.fits",
        fiducial="<results>/theory/fiducial.txt",
    output:
        "<results>/maps/{field}.templates.json",
    log:
        "<logs>/fit_templates/{field}.log",
    benchmark:
        "<benchmarks>/fit_templates/{field}.jsonl"
    conda:
        ENVIRONMENT
    params:
        field=lambda wc: resolved(SURVEY.template_spec(wc.field)),
        templates=lambda wc: resolved(
            [SURVEY.template_spec(wc.field, t) for t in SURVEY.templates_of(wc.field)]
        ),
        nside=lambda wc: SURVEY.cleaning["nside"],
        code=code("fit_templates"),
    shell:
        "python -m pipeline.fit_templates --field {params.field:q} --templates {params.templates:q}"
        " --mask {input.mask} --fiducial {input.fiducial} --nside {params.nside}"
        " --output {output} > {log} 2>&1"


rule estimate_survey:
    input:
        files=[f for field in SURVEY.fields for f in SURVEY.field_inputs(field)],
        fiducial="<results>/theory/fiducial.txt",
    output:
        sacc=OWN_SPECTRA,
        leakage=OWN_SPECTRA.removesuffix(".sacc.fits") + ".leakage.fits",
        pairs="<results>/spectra/pairs.h5",
        checks="<results>/checks/pairs.json",
    log:
        "<logs>/estimate_survey.log",
    benchmark:
        "<benchmarks>/estimate_survey.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=survey_memory(6.4),
    params:
        fields=resolved([SURVEY.field_spec(f) for f in SURVEY.fields]),
        edges=EDGES,
        lmax=config["spectra"]["lmax"],
        pairs=as_json(config["spectra"].get("pairs")),
        cuts=as_json(config["spectra"].get("cuts", {})),
        code=code("estimate_survey"),
    shell:
        "python -m pipeline.estimate_survey --fields {params.fields:q} --fiducial {input.fiducial}"
        " --edges {params.edges} --lmax {params.lmax} --pairs {params.pairs:q} --cuts {params.cuts:q}"
        " --pairs-output {output.pairs} --checks {output.checks} --output {output.sacc} > {log} 2>&1"


rule check_nulls:
    input:
        files=[f for field in SURVEY.masked for f in SURVEY.field_inputs(field)],
        spectra=OWN_SPECTRA,
        leakage=OWN_SPECTRA.removesuffix(".sacc.fits") + ".leakage.fits",
        fiducial="<results>/theory/fiducial.txt",
    output:
        "<results>/checks/nulls.json",
    log:
        "<logs>/check_nulls.log",
    benchmark:
        "<benchmarks>/check_nulls.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=survey_memory(7.9),
    params:
        fields=resolved([SURVEY.field_spec(f) for f in SURVEY.fields]),
        differences=resolved([SURVEY.field_spec(f) for f in SURVEY.differences]),
        edges=EDGES,
        lmax=config["spectra"]["lmax"],
        code=code("check_nulls"),
    shell:
        "python -m pipeline.check_nulls --fields {params.fields:q} --differences {params.differences:q} --spectra {input.spectra}"
        " --fiducial {input.fiducial} --edges {params.edges} --lmax {params.lmax} --output {output} > {log} 2>&1"
