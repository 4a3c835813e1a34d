# What all stages share: the code's hash, quoting, names that the configuration gives.
import json
import os
import sys
from pathlib import Path

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

ENVIRONMENT = str(ROOT / "environment.yml")
BANDS = config["maps"]["bands"]
PAIR = "x".join(config["spectra"]["pair"])
FITS = config["fits"]
SEED = config["run"]["seed"]


def as_json(value):
    """A configuration section as one shell word (quote it with :q)."""
    return json.dumps(value, sort_keys=True)


def code(entry_point):
    """The hash of everything `python -m pipeline.<entry point>` may run."""
    return code_hash(entry_point)


def data_file(name):
    """A registered file, linked into the run's directory by fetch_data."""
    return f"<results>/data/{name}"


def data_hash(name):
    """The registered sha256: a change of the registry reruns what uses the file."""
    from cmbfit.data import load_registry

    return load_registry()[name].sha256


def declared(*keys):
    """Command-line options for what the files' headers do not say."""
    given = config["maps"]["declare"]
    return " ".join(f"--{key} {given[key]}" for key in keys if key in given)


def ensembles(wildcards):
    return expand(
        f"<results>/chains/{wildcards.fit}.ensemble{{ensemble}}.h5",
        ensemble=range(FITS[wildcards.fit]["ensembles"]),
    )


def data_hashes(fit):
    """sha256 of every file behind a fit's data sets."""
    from cmbfit.data import load_registry
    from cmbfit.likelihood.datasets.load import registry_group

    groups = {registry_group(name) for name in FITS[fit]["data"]}
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
