# Survey: many maps. Splits of fields, masks, beams, templates, coefficients, all cross-spectra, nulls.
# Used in place of the two-map rules where the configuration has maps.fields.


SURVEY = PLAN.survey
WEIGHTING = words(weighting=PLAN.spectra.get("weighting"))
ITERATIONS = words(iterations=PLAN.spectra.get("iterations"))


def field_section(name, bands):
    """Where the files of each field lie."""
    return SECTIONS.path(name, PLAN.resolved([SURVEY.field_spec(f) for f in bands]))


FIELDS = field_section("fields", SURVEY.fields)
FIELD_FILES = [x for field in SURVEY.fields for x in SURVEY.field_inputs(field)]
BANDS = {
    name: SECTIONS.path(f"band.{name}", {"spec": band.spec, "declared": band.declared})
    for name, band in SURVEY.bands.items()
}
MASKS = {
    name: SECTIONS.path(
        f"mask.{name}", {"spec": spec, "declared": PLAN.maps["declare"]}
    )
    for name, spec in SURVEY.masks.items()
}
DETECTORS = {
    name: SECTIONS.path(
        f"beam.{name}",
        [
            {"beam": beam, "weight": 1 / detector.get("sigma0_uk", 1.0) ** 2}
            for beam, detector in zip(band.beams, band.spec["detectors"].values())
        ],
    )
    for name, band in SURVEY.observed.items()
}
JOINED_BANDS = {
    name: SECTIONS.path(
        f"join.{name}",
        {
            "channels": list(band.joins),
            "fwhm_arcmin": band.spec["fwhm_arcmin"],
            "ranges": band.spec.get("ranges", {}),
            "difference": name in SURVEY.differences,
        },
    )
    for name, band in SURVEY.joined.items()
}
SOURCES = {
    name: SECTIONS.path(
        f"templates.{name}",
        PLAN.resolved(
            {
                "field": SURVEY.template_spec(name),
                "templates": [
                    SURVEY.template_spec(name, t) for t in SURVEY.templates_of(name)
                ],
            }
        ),
    )
    for name in SURVEY.cleaning["fields"]
}


def masks_of(wildcards):
    """The masks of a field: of T, and of Q and U where they have their own."""
    return [f"<results>/maps/mask_{m}.fits" for m in SURVEY.masks_of(wildcards.field)]


def channels_of(wildcards):
    return [SURVEY.channels[c] for c in SURVEY.joined[wildcards.band].joins]


def mask_files(wildcards):
    return SURVEY.masks[wildcards.mask].get("files", [])


def weight_words(wildcards):
    """The weights of a split's maps, where they are files of their own."""
    names = SURVEY.bands[wildcards.band].weights(wildcards.split)
    if not names:
        return []
    files, hashes = map(data_file, names), map(data_hash, names)
    return ["--weights", *files, "--weights-sha256", *hashes]


def window_inputs(wildcards):
    """What a pixel window is made of: its file, the mask on a CAR grid, or nothing."""
    file, mask = (f(wildcards.band) for f in (SURVEY.window_file, SURVEY.window_mask))
    return [data_file(file)] if file else [mask] if mask else []


def window_words(wildcards, input):
    """The same as words."""
    if SURVEY.window_file(wildcards.band):
        return words(pixel_window=input.window[0])
    return words(mask=input.window[0] if input.window else None)


def survey_memory(gigabytes):
    """A job's memory [MB], given what it takes for Planck's maps at lmax 2600: maps and matrices go as lmax^2."""
    share = (PLAN.spectra["lmax"] / 2600) ** 2
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
        lmax=PLAN.spectra["lmax"],
        code=code("transform_channel"),
    shell:
        "python -m pipeline transform_channel --split={input.split:q} --beam={input.beam:q} --name={wildcards.channel:q}.{wildcards.split:q}"
        " --lmax={params.lmax:q} --output={output:q} > {log:q} 2>&1"


rule join_channels:
    input:
        alms=lambda wc: [c.channel_file(wc.split) for c in channels_of(wc)],
        splits=lambda wc: [c.split_file(wc.split) for c in channels_of(wc)],
        beams=lambda wc: [f"<results>/maps/{c.name}.beam.txt" for c in channels_of(wc)],
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
        band=lambda wc: JOINED_BANDS[wc.band],
        lmax=PLAN.spectra["lmax"],
        code=code("join_channels"),
    shell:
        "python -m pipeline join_channels --alms {input.alms:q} --splits {input.splits:q} --beams {input.beams:q} --band={params.band:q}"
        " --name={wildcards.band:q}.{wildcards.split:q} --lmax={params.lmax:q} --output={output:q} > {log:q} 2>&1"


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
        lmax=PLAN.spectra["lmax"],
        code=code("gaussian_beam"),
    shell:
        "python -m pipeline gaussian_beam --fwhm-arcmin={params.fwhm:q} --lmax={params.lmax:q} --output={output:q}"
        " > {log:q} 2>&1"


rule prepare_split:
    input:
        maps=lambda wc: [data_file(f) for f in SURVEY.bands[wc.band].maps(wc.split)],
        weights=lambda wc: [
            data_file(f) for f in SURVEY.bands[wc.band].weights(wc.split)
        ],
        bandpass=lambda wc: bandpass_file(SURVEY.bands[wc.band].spec),
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
        band=lambda wc: BANDS[wc.band],
        frequency=lambda wc: frequency_word(SURVEY.bands[wc.band].spec),
        sha256=lambda wc: [data_hash(f) for f in SURVEY.bands[wc.band].maps(wc.split)],
        weights=weight_words,
        code=code("prepare_split"),
    shell:
        "python -m pipeline prepare_split --maps {input.maps:q} --sha256 {params.sha256:q} {params.weights:q} --name={wildcards.band:q}.{wildcards.split:q}"
        " --band={params.band:q} --frequency={params.frequency:q} --output={output:q} > {log:q} 2>&1"


rule prepare_survey_mask:
    input:
        masks=lambda wc: [data_file(f) for f in mask_files(wc)],
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
        mask=lambda wc: MASKS[wc.mask],
        sha256=lambda wc: [data_hash(f) for f in mask_files(wc)],
        code=code("prepare_survey_mask"),
    shell:
        "python -m pipeline prepare_survey_mask --masks {input.masks:q} --sha256 {params.sha256:q} --splits {input.splits:q}"
        " --name={wildcards.mask:q} --mask={params.mask:q} --output={output:q} > {log:q} 2>&1"


rule prepare_beam:
    input:
        beams=lambda wc: [data_file(b["file"]) for b in SURVEY.bands[wc.band].beams],
        window=window_inputs,
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
        detectors=lambda wc: DETECTORS[wc.band],
        window=window_words,
        lmax=lambda wc: (
            SURVEY.cleaning["window"][1]
            if wc.band in SURVEY.templates
            else PLAN.spectra["lmax"]
        ),
        code=code("prepare_beam"),
    shell:
        "python -m pipeline prepare_beam --beams {input.beams:q} --sha256 {params.sha256:q} --detectors={params.detectors:q}"
        " {params.window:q} --lmax={params.lmax:q} --output={output:q} > {log:q} 2>&1"


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
        lmax=PLAN.spectra["lmax"],
        iterations=ITERATIONS,
        code=code("transform_split"),
    shell:
        "python -m pipeline transform_split --split={input.split:q} --masks {input.masks:q} --name={wildcards.field:q}.{wildcards.split:q}"
        " {params.iterations:q} --lmax={params.lmax:q} --output={output:q} > {log:q} 2>&1"


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
        "python -m pipeline transform_sky --split={input.split:q} --beam={input.beam:q} --window {params.window:q} --output={output:q}"
        " > {log:q} 2>&1"


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
            [] if SURVEY.templates[wc.template].spec["has_cmb"] else ["--without-cmb"]
        ),
        lmax=PLAN.spectra["lmax"],
        iterations=ITERATIONS,
        code=code("transform_template"),
    shell:
        "python -m pipeline transform_template --own={input.own:q} --template={input.template:q} --beam={input.beam:q} {params.cmb:q}"
        " --masks {input.masks:q} {params.iterations:q} --lmax={params.lmax:q} --output={output:q} > {log:q} 2>&1"


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
        sources=lambda wc: SOURCES[wc.field],
        nside=lambda wc: SURVEY.cleaning["nside"],
        code=code("fit_templates"),
    shell:
        "python -m pipeline fit_templates --sources={params.sources:q} --mask={input.mask:q} --fiducial={input.fiducial:q} --nside={params.nside:q}"
        " --output={output:q} > {log:q} 2>&1"


rule estimate_survey:
    input:
        files=FIELD_FILES,
        fiducial="<results>/theory/fiducial.txt",
    output:
        sacc=PLAN.own_spectra,
        leakage=PLAN.leakage,
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
        fields=FIELDS,
        edges=PLAN.edges,
        lmax=PLAN.spectra["lmax"],
        weighting=WEIGHTING,
        combine=SECTIONS.path(
            "combine",
            {
                "pairs": PLAN.spectra.get("pairs"),
                "cuts": PLAN.spectra.get("cuts", {}),
            },
        ),
        code=code("estimate_survey"),
    shell:
        "python -m pipeline estimate_survey --fields={params.fields:q} --fiducial={input.fiducial:q} --edges {params.edges:q} --lmax={params.lmax:q}"
        " {params.weighting:q} --combine={params.combine:q} --pairs-output={output.pairs:q} --checks={output.checks:q} --output={output.sacc:q}"
        " > {log:q} 2>&1"


rule check_nulls:
    input:
        files=[x for field in SURVEY.masked for x in SURVEY.field_inputs(field)],
        spectra=PLAN.own_spectra,
        leakage=PLAN.leakage,
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
        fields=FIELDS,
        differences=field_section("differences", SURVEY.differences),
        edges=PLAN.edges,
        lmax=PLAN.spectra["lmax"],
        weighting=WEIGHTING,
        code=code("check_nulls"),
    shell:
        "python -m pipeline check_nulls --fields={params.fields:q} --differences={params.differences:q} --spectra={input.spectra:q}"
        " --fiducial={input.fiducial:q} --edges {params.edges:q} --lmax={params.lmax:q} {params.weighting:q} --output={output:q} > {log:q} 2>&1"
