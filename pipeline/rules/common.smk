# What every rule shares: the code's hash, quoting, names that the configuration gives.
import json
import os
import sys
from pathlib import Path

from pipeline.codehash import ROOT, code_hash

# jobs run `python -m pipeline.<rule>` from wherever results go, with the Python that runs snakemake
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


def code(rule):
    """The hash of everything `python -m pipeline.<rule>` may run."""
    return code_hash(rule)


def data_file(name):
    """A registered file, linked into the run's directory by fetch_data."""
    return f"<results>/data/{name}"


def data_hash(name):
    """The registered sha256: a change of the registry reruns what uses the file."""
    from cmbfit.data import load_registry

    return load_registry()[name].sha256


wildcard_constraints:
    band="|".join(BANDS),
    fit="|".join(FITS),
    ensemble=r"\d+",
    chunk=r"\d+",
    part=r"\d+",
    product=r"[A-Za-z0-9_]+",
