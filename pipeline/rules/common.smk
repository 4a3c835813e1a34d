# What all stages share: the code's hash, quoting, names that the configuration gives.
import json
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from cmbfit.errors import CmbfitError
from cmbfit.io import read_json
from cmbfit.theory.emulator.bundle import bundle_folder
from pipeline.check_config import check_edges, check_fit
from pipeline.codehash import ROOT, code_hash

# jobs run `python -m pipeline.<entry point>` from wherever results go, with the Python that runs snakemake
os.environ.update(
    PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    ),
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    ),
)


def named(section, name, where):
    """A named part of the configuration, or an error that lists the names there are."""
    if name not in section:
        raise WorkflowError(
            f"{where}: unknown name {name!r}; the configuration has {', '.join(section)}"
        )
    return section[name]


def fit_section(fit):
    """A fit's configuration, with the run's own spectra where it uses them."""
    section = dict(named(config["fits"], fit, "run.fits"))
    if "own_spectra" in section["data"]:
        options = named(config["spectra"], "likelihood", "spectra")
        section["own_spectra"] = {
            **options,
            "path": OWN_SPECTRA,
            "survey": config["run"]["name"],
        }
    return section


ENVIRONMENT = str(ROOT / "environment.yml")
PAIR = "x".join(config["spectra"]["pair"])
BANDS = {
    band: named(config["maps"]["bands"], band, "spectra.pair")
    for band in config["spectra"]["pair"]
}
OWN_SPECTRA = f"results/{config['run']['name']}/spectra/{PAIR}.sacc.fits"
FITS = {fit: fit_section(fit) for fit in config["run"]["fits"]}
SEED = config["run"]["seed"]


def as_json(value):
    """A configuration section as one shell word (quote it with :q)."""
    return json.dumps(value, sort_keys=True)


def code(entry_point):
    """The hash of everything `python -m pipeline.<entry point>` may run."""
    return code_hash(entry_point)


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
    named(FITS, CHECKED_FIT, "theory.emulator.check.fit")
    for name, fit in FITS.items():
        check_fit(name, fit, box)


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
    from cmbfit.likelihood.datasets.load import registry_group

    groups = {
        registry_group(name) for name in FITS[fit]["data"] if name != "own_spectra"
    }
    return {
        e.name: e.sha256
        for g in sorted(groups)
        for e in load_registry().select(g).values()
    }


wildcard_constraints:
    band="|".join(BANDS),
    fit="|".join(FITS),
    ensemble=r"\d+",
    chunk=r"\d+",
    part=r"\d+",
    product=r"[A-Za-z0-9_]+",
