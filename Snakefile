# From CMB maps to the physics of the early universe. `snakemake --cores 8` runs it all;
# pipeline/config/default.yaml says what, pipeline/rules/*.smk how, stage by stage.
from importlib import resources

from snakemake.utils import min_version, validate

min_version("9.27")


configfile: workflow.source_path("pipeline/config/default.yaml")


# of the package: in a wheel the workflow lies inside it
validate(config, str(resources.files("cmbfit.config") / "schema.yaml"))


pathvars:
    results=f"results/{config['run']['name']}",
    logs=f"results/{config['run']['name']}/logs",
    benchmarks=f"results/{config['run']['name']}/benchmarks",


include: "pipeline/rules/common.smk"
include: "pipeline/rules/data.smk"


if MANY:

    include: "pipeline/rules/survey.smk"

else:

    include: "pipeline/rules/maps.smk"


include: "pipeline/rules/theory.smk"
include: "pipeline/rules/primordial.smk"


if LOWL:

    include: "pipeline/rules/lowl.smk"


include: "pipeline/rules/spectra.smk"
include: "pipeline/rules/likelihood.smk"
include: "pipeline/rules/fits.smk"
include: "pipeline/rules/exact.smk"
include: "pipeline/rules/features.smk"
include: "pipeline/rules/birefringence.smk"
include: "pipeline/rules/evaporation.smk"
include: "pipeline/rules/blackbody.smk"
include: "pipeline/rules/comparison.smk"
include: "pipeline/rules/figures.smk"
include: "pipeline/rules/report.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        "<results>/report/index.html",
        "<results>/summary.json",
        "<results>/ro-crate-metadata.json",
        "<results>/checks/PASSED",
