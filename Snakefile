# From CMB maps to the physics of the early universe. `snakemake --cores 8` runs it all;
# pipeline/config/default.yaml says what, pipeline/rules/*.smk how, stage by stage.
from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from cmbfit.blinded import mark_folder
from cmbfit.checkpoint import discard
from cmbfit.config import load_config
from cmbfit.config.load import parse_overrides
from cmbfit.errors import CmbfitError, printable

min_version("9.27")

# files and --config as the user wrote them: Snakemake's own merge cannot replace, nor see a key that is given twice
try:
    CONFIG = load_config(
        workflow.overwrite_configfiles,
        parse_overrides(workflow.config_settings.config_args or []),
    )
except CmbfitError as error:
    raise WorkflowError(printable(str(error)))


pathvars:
    results=f"results/{CONFIG['run']['name']}",
    logs=f"results/{CONFIG['run']['name']}/logs",
    benchmarks=f"results/{CONFIG['run']['name']}/benchmarks",


include: "pipeline/rules/common.smk"
include: "pipeline/rules/data.smk"


if PLAN.survey:

    include: "pipeline/rules/survey.smk"

else:

    include: "pipeline/rules/maps.smk"


include: "pipeline/rules/theory.smk"
include: "pipeline/rules/primordial.smk"


if PLAN.lowl:

    include: "pipeline/rules/lowl.smk"


include: "pipeline/rules/spectra.smk"
include: "pipeline/rules/fits.smk"
include: "pipeline/rules/exact.smk"
include: "pipeline/rules/features.smk"
include: "pipeline/rules/evaporation.smk"
include: "pipeline/rules/comparison.smk"


if PLAN.subsets:

    include: "pipeline/rules/subsets.smk"


include: "pipeline/rules/figures.smk"
include: "pipeline/rules/report.smk"


# known when every rule is
RULES = SECTIONS.path("rules", rules_of_the_run())
HASHES = SECTIONS.path("code", CODE)


# not in dry runs, and not in a cluster's jobs, which find the files there
onstart:
    PLAN.require_pinned()
    SECTIONS.write()
    mark_folder(PLAN.folder, PLAN.blinding)


# whoever takes a product in removes what it was made of, but has nothing to do where it is the same product as before
onsuccess:
    discard(*unfinished(workflow.dag.jobs))


localrules:
    all,


rule all:
    default_target: True
    input:
        "<results>/report/index.html",
        "<results>/summary.json",
        "<results>/ro-crate-metadata.json",
        "<results>/checks/PASSED",
