# What all stages share: the plan of the run, the code's hashes, and what many rules would repeat.
import os
import sys
from pathlib import Path

import psutil
from snakemake.exceptions import WorkflowError

from cmbfit.data import load_registry
from cmbfit.errors import CmbfitError, printable
from cmbfit.provenance.codehash import code_hash
from cmbfit.provenance.uses import fit_uses
from pipeline import ROOT
from pipeline.plan import FIRAS, LOWL_MAPS, Plan
from pipeline.sections import Sections

# jobs run `python -m pipeline STAGE` from wherever results go, with the Python that runs snakemake
os.environ.update(
    PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    ),
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    ),
)

# on one machine, jobs wait for memory as they wait for cores; a cluster counts for itself
if workflow.nodes is None and not {"mem", "mem_mb"} & set(workflow.global_resources):
    workflow.register_resource("mem_mb", int(0.9 * psutil.virtual_memory().total / 1e6))

try:
    PLAN = Plan(CONFIG)
except CmbfitError as error:
    raise WorkflowError(printable(str(error)))

ENVIRONMENT = str(ROOT / "environment.yml")
GPU = 1 if PLAN.device == "cuda" else 0
MANIFEST = PLAN.manifest
SECTIONS = Sections(f"{PLAN.folder}/config")
FITS = {
    name: SECTIONS.path(f"fit.{name}", fit.describe())
    for name, fit in PLAN.fits.items()
}
MARKS = SECTIONS.path("marks", PLAN.marks)
CAMB = SECTIONS.path("camb", PLAN.theory["camb"])
CODE = (
    {}
)  # what `cmbfit reproduce` compares: the code of every stage, and of what each fit chose


def code(stage, of_fits=False):
    """The hash of everything `python -m pipeline STAGE` may run; what fits choose themselves counts with them."""
    value = record_code(stage, [f"pipeline.{stage}"], registered=not of_fits)
    # figures say BLINDED while a run is: they are drawn again when it is opened, whatever else they show
    return value + PLAN.hidden if stage.startswith("plot_") else value


def record_code(name, modules, registered=False):
    """Hash modules and keep the hash for workflow/code.json."""
    value = code_hash(*modules, registered=registered)
    CODE[name] = {"modules": modules, "registered": registered, "hash": value}
    return value


for fit in PLAN.fits.values():
    # what is installed elsewhere has no place in a checkout
    modules = [m for m in fit_uses(fit, PLAN.folder).modules if m.startswith("cmbfit.")]
    record_code(f"fit {fit.name}", modules)


def uses(wildcards):
    """The hash of what a fit uses: its own readers, models, sampler, data and files."""
    return PLAN.uses(PLAN.fits[wildcards.fit])


SAMPLING = code("sample_posterior", of_fits=True)


def chain_code(wildcards):
    """The code that makes a chain: the stage's, and what the fit chose itself."""
    return f"{SAMPLING}.{uses(wildcards)}"


def kept(name):
    """Folder of a job's unfinished work; the job that takes its product in removes it."""
    return f"{PLAN.folder}/checkpoints/{name}"


def unfinished(jobs):
    """Folders of the unfinished work of jobs: of no use once all of them have ended."""
    found = (job.params.get("checkpoint") for job in jobs)
    return [folder for folder in found if folder]


def words(**options):
    """Words of a command line (for :q) from the options that are given; a value may begin with a dash."""
    return [f"--{k.replace('_', '-')}={x}" for k, x in options.items() if x is not None]


def figure(name, kind, category, label, part=""):
    """Outputs of a figure: PNG for the report with the caption of its kind, PDF and CSV."""
    stem = f"<results>/figures/{name}"
    labels = {"figure": label, **({"fit": "{fit}"} if "{fit}" in name else {})}
    shown = report(
        f"{stem}.png",
        caption=str(Path(SECTIONS.caption(kind)).absolute()),
        category=category,
        labels=labels,
    )
    return {
        f"{part}png": shown,
        f"{part}pdf": f"{stem}.pdf",
        f"{part}csv": f"{stem}.csv",
    }


def data_file(name):
    """A registered file, copied into the run's directory by fetch_data."""
    return f"{PLAN.folder}/data/{name}"


def data_hash(name):
    """The registered sha256: a change of the registry reruns what uses the file."""
    return load_registry()[name].sha256


def posterior(**files):
    """Inputs of a job with a fit's posterior."""
    return {
        "manifest": MANIFEST,
        "own": lambda wc: PLAN.own_of(wc.fit),
        "transfer": lambda wc: PLAN.transfer_of(wc.fit),
        **files,
    }


def mask_words(wildcards):
    """The mask: a registered file, a Galactic cut, or none."""
    if cut := PLAN.maps.get("galactic_cut"):
        return ["--cut", cut["nside"], cut["latitude_deg"]]
    said = {key: PLAN.maps["declare"].get(key) for key in ("coord", "ordering")}
    said["like"] = band_map(PLAN.spectra["pair"][0])
    if (name := PLAN.maps["mask"]) is None:
        return words(**said)
    said |= {"column": PLAN.maps.get("mask_column")}
    return words(mask=data_file(name), mask_sha256=data_hash(name), **said)


def mask_inputs():
    """What a mask is made of: its file, and a map for what it does not say."""
    if PLAN.maps.get("galactic_cut"):
        return []
    name = PLAN.maps["mask"]
    return [*([data_file(name)] if name else []), band_map(PLAN.spectra["pair"][0])]


def frequency_word(spec):
    """The frequency of a map with a unit that needs one: GHz, or the file of a bandpass, FILE@GHZ."""
    ghz, (name, bracket, hdu) = spec.get("frequency_ghz"), spec.get(
        "bandpass", ""
    ).partition("[")
    if not name:
        return ghz
    return f"{data_file(name)}{bracket}{hdu}" + ("" if ghz is None else f"@{ghz}")


def bandpass_file(spec):
    """The file of a bandpass, if there is one."""
    name = spec.get("bandpass", "").partition("[")[0]
    return [data_file(name)] if name else []


def map_words(wildcards):
    """What a map's header does not say, and what its file must be."""
    band = PLAN.bands[wildcards.band]
    said = words(**PLAN.maps["declare"], frequency=frequency_word(band))
    return said + words(map_sha256=data_hash(band["map"]) if "map" in band else None)


def band_map(band):
    """The map of a band: a registered file, or a simulated one."""
    if name := PLAN.bands[band].get("map"):
        return data_file(name)
    return f"{PLAN.folder}/maps/simulated/{band}.fits"


def chain_of(wildcards):
    """The chain around which an evidence is taken, or whose own runs measured it, if it is."""
    model = PLAN.models[wildcards.model]
    kind = model.fit.sampler.get("kind")
    own = kind == PLAN.evidence_method and kind in ("nested", "tempered")
    around = (PLAN.evidence_method == "chain" or own) and not model.fixed
    return [f"{PLAN.folder}/chains/{model.fit.name}.samples.h5"] if around else []


def fit_of(wildcards):
    return PLAN.models[wildcards.model].fit.name


def fit_memory(wildcards, attempt):
    """Megabytes of a job with a fit's posterior: transfer functions weigh more than emulators."""
    name = wildcards.get("fit") or PLAN.models[wildcards.model].fit.name
    return attempt * (2500 if name in PLAN.primordial_fits else 2000)


def rules_of_the_run():
    """Which rule writes what, with log and cost, relative to the run's folder."""

    # not called `rule`: Snakemake's parser takes that word for its own
    def inside(path):
        return str(path).removeprefix(f"{PLAN.folder}/")

    return {
        made.name: {
            "output": [inside(x) for x in made.output],
            "log": inside(made.log[0]) if made.log else None,
            "benchmark": inside(made.benchmark) if made.benchmark else None,
        }
        for made in workflow.rules
        if made.output
    }


wildcard_constraints:
    band="|".join(PLAN.survey.bands if PLAN.survey else PLAN.bands),
    field="|".join(PLAN.survey.masked) if PLAN.survey else "none",
    template="|".join(PLAN.survey.templates) or "none" if PLAN.survey else "none",
    split=r"[A-Za-z0-9]+",
    mask=r"[A-Za-z0-9]+",
    fit="|".join(PLAN.fits),
    model="|".join(PLAN.models),
    subset="|".join(PLAN.subsets) or "none",
    extension="|".join(PLAN.extensions) or "none",
    ensemble="|".join(map(str, range(max(fit.ensembles for fit in PLAN.fits.values())))),
    chunk=r"\d+",
    part=r"\d+",
    product=r"[A-Za-z0-9_]+",
