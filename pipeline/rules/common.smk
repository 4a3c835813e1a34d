# What all stages share: the code's hash, quoting, names that the configuration gives.
import json
import os
import sys
from pathlib import Path

import psutil
from snakemake.exceptions import WorkflowError

from cmbfit.errors import CmbfitError
from cmbfit.io import read_json
from cmbfit.likelihood.model_defaults import complete_fit
from cmbfit.theory.emulator.manifest import bundle_folder
from pipeline.check_config import check_edges, check_fit
from pipeline.codehash import ROOT, code_hash
from pipeline.survey_config import Survey

# jobs run `python -m pipeline.<entry point>` from wherever results go, with the Python that runs snakemake
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


def named(section, name, where):
    """A named part of the configuration, or an error that lists the names there are."""
    if name not in section:
        raise WorkflowError(
            f"{where}: unknown name {name!r}; the configuration has {', '.join(section)}"
        )
    return section[name]


def fit_section(fit):
    """A fit's configuration, with the run's own spectra where it uses them."""
    try:
        section = complete_fit(named(config["fits"], fit, "run.fits"))
    except CmbfitError as error:
        raise WorkflowError(f"fits.{fit}: {error}")
    if "own_spectra" in section["data"]:
        options = named(config["spectra"], "likelihood", "spectra")
        section["own_spectra"] = {
            **options,
            "path": OWN_SPECTRA,
            "survey": config["run"]["name"],
        }
    return section


ENVIRONMENT = str(ROOT / "environment.yml")
MANY = "fields" in config["maps"]
try:
    SURVEY = Survey(config["maps"]) if MANY else None
except CmbfitError as error:
    raise WorkflowError(str(error))
PAIR = "combined" if MANY else "x".join(config["spectra"]["pair"])
BANDS = (
    {}
    if MANY
    else {
        band: named(config["maps"]["bands"], band, "spectra.pair")
        for band in config["spectra"]["pair"]
    }
)
# the low-l pixel likelihood runs on the maps that the default run has anyway
LOWL = any(band.get("map", "").startswith("wmap7/") for band in BANDS.values())
SURVEY_FIGURES = ["<results>/figures/nulls.png"] if MANY else []
SURVEY_CHECKS = (
    [
        "<results>/checks/pairs.json",
        "<results>/checks/nulls.json",
        *[f"<results>/maps/{f}.templates.json" for f in SURVEY.cleaning["fields"]],
    ]
    if MANY
    else []
)
MAP_FILES = (
    SURVEY.files
    if MANY
    else [
        config["maps"]["pixel_window"],
        config["maps"]["mask"] or config["maps"]["pixel_window"],
        *(band["map"] for band in BANDS.values() if "map" in band),
    ]
)
OWN_SPECTRA = f"results/{config['run']['name']}/spectra/{PAIR}.sacc.fits"
FITS = {fit: fit_section(fit) for fit in config["run"]["fits"]}
SEED = config["run"]["seed"]


def as_json(value):
    """A configuration section as one shell word (quote it with :q)."""
    return json.dumps(value, sort_keys=True)


def resolved(value):
    """A section as JSON with <results> written out: Snakemake does so for inputs and outputs only."""
    return as_json(value).replace("<results>", f"results/{config['run']['name']}")


CODE = {}  # of every entry point that the run's rules have


def code(entry_point):
    """The hash of everything `python -m pipeline.<entry point>` may run."""
    CODE[entry_point] = code_hash(entry_point)
    return CODE[entry_point]


def data_file(name):
    """A registered file, copied into the run's directory by fetch_data."""
    return f"<results>/data/{name}"


def data_hash(name):
    """The registered sha256: a change of the registry reruns what uses the file."""
    from cmbfit.data import load_registry

    return load_registry()[name].sha256


def declared(*keys):
    """Command-line options for what the files' headers do not say."""
    given = config["maps"]["declare"]
    return " ".join(
        f"--{key} {given[key]}" for key in keys if given.get(key) is not None
    )


def ensembles(wildcards):
    return expand(
        f"<results>/chains/{wildcards.fit}.ensemble{{ensemble}}.h5",
        ensemble=range(FITS[wildcards.fit]["ensembles"]),
    )


def exact_parts(wildcards):
    return expand(
        f"<results>/theory/exact/{wildcards.fit}.part{{part}}.npz",
        part=range(EXACT_PARTS),
    )


def stops_the_run(function):
    """Turn the package's errors into Snakemake's, which print without a traceback."""

    def wrapped(*arguments):
        try:
            return function(*arguments)
        except CmbfitError as error:
            raise WorkflowError(str(error))

    return wrapped


@stops_the_run
def shipped_or_own_bundle(name):
    """The folder of an emulator."""
    return str(bundle_folder(name))


@stops_the_run
def check_configuration(box):
    """Check what the schema cannot: names and numbers that must fit together."""
    check_edges(config["spectra"]["edges"])
    for name, fit in FITS.items():
        check_fit(name, fit, {**box, **transfer_box(fit, box)})


def transfer_box(fit, box):
    """Where the transfer functions of a primordial model are valid, within the emulator's box."""
    if "primordial" not in fit.get("theory", {}):
        return {}
    # CAMB takes a second to import, and few runs have such fits
    from cmbfit.theory.transfer.plan import plan_from_config

    own = plan_from_config(config["theory"].get("transfer", {}), {}).box
    return {
        p: (max(low, box[p][0]), min(high, box[p][1])) for p, (low, high) in own.items()
    }


def refuse_other_physics(trained):
    """Stop if theory.camb asks for other physics than a shipped emulator was trained on."""
    accuracy = ("lmax", "lens_potential_accuracy", "accuracy_boost", "l_accuracy_boost")
    for key, value in config["theory"]["camb"].items():
        if key not in accuracy and trained[key] != value:
            raise WorkflowError(
                f"theory.camb.{key} is {value}, but the emulator of the fits was trained with {trained[key]}; "
                "train one (theory.emulator.train, as in pipeline/config/train.yaml) or change it back"
            )


def own_spectra(fit):
    """The run's own spectra, if a fit uses them."""
    leakage = OWN_SPECTRA.removesuffix(".sacc.fits") + ".leakage.fits"
    return [OWN_SPECTRA, leakage] if "own_spectra" in FITS[fit] else []


def data_hashes(fit):
    """sha256 of every file behind a fit's data sets."""
    from cmbfit.data import load_registry
    from cmbfit.likelihood.selection import select

    chosen = select(FITS[fit]["data"])
    groups = {s.registry_group for s in chosen} - {""}
    registered = {
        e.name: e.sha256
        for g in sorted(groups)
        for e in load_registry().select(g).values()
    }
    return registered | {k: x for s in chosen for k, x in s.user_hashes().items()}


def transfer_of(wildcards):
    """The transfer expansion, for the fits that need it."""
    if wildcards.fit not in PRIMORDIAL_FITS:
        return []
    given = FITS[wildcards.fit]["theory"].get("transfer")
    return [f"{given}/manifest.json" if given else TRANSFER_MANIFEST]


def transfer_option(wildcards, input):
    """The command-line option that names it."""
    return f"--transfer $(dirname {input.transfer})" if input.transfer else ""


def fit_memory(wildcards, attempt):
    """Megabytes of a job with a fit's posterior: transfer functions weigh more than emulators."""
    name = wildcards.get("fit") or MODELS[wildcards.model].fit_name
    return attempt * (2500 if name in PRIMORDIAL_FITS else 2000)


def tension_pairs():
    """Requests of measure_tension: priors and start of the fit that a pair names."""
    out = {}
    for name, spec in PAIRS.items():
        fit = named(config["fits"], spec["fit"], f"comparison.tension.{name}.fit")
        out[name] = {
            "priors": fit["priors"],
            "start": fit["start"],
            **{k: x for k, x in spec.items() if k != "fit"},
        }
    return out


def rules_of_the_run():
    """Which rule writes what, with log and cost, relative to the run's folder."""
    # not called `rule`: Snakemake's parser takes that word for its own
    return {
        made.name: {
            "output": [str(x).removeprefix(FOLDER) for x in made.output],
            "log": str(made.log[0]).removeprefix(FOLDER) if made.log else None,
            "benchmark": (
                str(made.benchmark).removeprefix(FOLDER) if made.benchmark else None
            ),
        }
        for made in workflow.rules
        if made.output
    }


wildcard_constraints:
    band="|".join(SURVEY.bands if MANY else BANDS),
    field="|".join(SURVEY.masked) if MANY else "none",
    template="|".join(SURVEY.templates) or "none" if MANY else "none",
    split=r"[A-Za-z0-9]+",
    mask=r"[A-Za-z0-9]+",
    fit="|".join(FITS),
    ensemble=r"\d+",
    chunk=r"\d+",
    part=r"\d+",
    product=r"[A-Za-z0-9_]+",
