"""What a run under attack consists of: a user's folder with data, code and configuration, and a sky that costs nothing.

Rules, stages, samplers, evidences and the store are cmbfit's own. Only the theory is not: an emulator and a Boltzmann code of
closed form stand for the real ones, so that a run of all stages takes a second.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import defopt
import numpy as np
import pytest
import torch
import yaml

import pipeline.__main__ as entry
from cmbfit.io import provenance
from cmbfit.likelihood.datasets import catalog
from cmbfit.theory.emulator import trainingset
from cmbfit.theory.parameters import DERIVED, LCDM
from cmbfit.theory.spectra import Spectra

POINT = {
    "ombh2": (0.0224, 0.00015), "omch2": (0.12, 0.001), "theta_mc": (1.041, 0.0003),
    "tau": (0.055, 0.006), "logA": (3.045, 0.014), "ns": (0.965, 0.004),
}  # fmt: skip
"""Mean and standard deviation that the user's data sets measure."""
LMAX = 60
RUN = Path("results/toy")
TARGETS = tuple(
    str(RUN / name)
    for name in (
        "chains/mine.summary.json",
        "checks/chains_mine.json",
        "checks/emulator_mine.json",
        "checks/reweight_mine.json",
        "comparison/models.json",
    )
)

_STAGES = (
    *("sample_posterior", "publish_chains", "compute_evidence", "compare_fits"),
    *("compute_exact", "extend_exact", "check_emulator", "reweight"),
)
_DESCRIPTION = catalog.description

_READER = """
import io
import numpy as np
from cmbfit.device import OnDevice
from cmbfit.likelihood.datasets.source import data_set_info

class Mean(OnDevice):
    pairs, lmax = (), 0

    def __init__(self, info, x):
        self.info, self.x, self.shift = info, x, {shift}

    def settings(self):
        return {{"numbers": self.x.tolist(), "shift": self.shift}}

    def log_prob(self, spectra, nuisance):
        ns = spectra.parameters["ns"]
        return sum(-0.5 * ((ns - self.shift - x) / 0.02) ** 2 for x in self.x.tolist())

def read(source, options):
    x = np.load(io.BytesIO(source.files["numbers.npy"]))
    return Mean(data_set_info(source, len(x), options), x)
"""


@dataclass(frozen=True)
class State:
    """What decides a run's products; each field is something that a user edits.

    Attributes
    ----------
    seed, walkers, prior, evidence, draws : int
        Of the configuration: the run's seed, a sampler's setting, a prior, the evidence's method, draws of exact spectra.
    array, mean, code : int
        An array of a data set, a number in a description, a constant in the user's own code.
    """

    seed: int = 0
    walkers: int = 0
    prior: int = 0
    evidence: int = 0
    draws: int = 0
    array: int = 0
    mean: int = 0
    code: int = 0

    def edited(self, rng: random.Random) -> State:
        """Return the state after one edit; two at most lie between it and the first one, so that oracles are few."""
        while True:
            name = rng.choice([f.name for f in fields(self)])
            new = replace(self, **{name: 1 - getattr(self, name)})
            if sum(vars(new).values()) <= 2:
                return new

    def write(self, folder: Path) -> None:
        """Write the user's files; those that say the same already stay untouched."""
        for name, (mean, std) in POINT.items():
            shifted = mean + (0.5 * std if self.mean and name == "tau" else 0.0)
            _data_set(folder / name, kind="parameter", parameter=name, gaussian=[shifted, std])
        _data_set(folder / "numbers", kind="./reader.py", files=["numbers.npy"])
        x = 0.965 + 0.02 * np.random.default_rng([5, self.array]).standard_normal(12)
        _put(folder / "numbers/reader.py", _READER.format(shift=0.004 * self.code).encode())
        array = folder / "numbers/numbers.npy"
        if not array.exists() or not np.array_equal(np.load(array), x):
            np.save(array, x)
        _put(folder / "run.yaml", yaml.safe_dump(self.config()).encode())

    def config(self) -> dict[str, Any]:
        """Return the run's configuration."""
        sampler = {"kind": "emcee", "walkers": 14 + 2 * self.walkers, "block_steps": 10, "tau_multiple": 1}
        evidence = [{"method": "chain"}, {"method": "nested", "n_live": 50, "n_effective": 100}]
        low = 0.90 + 0.01 * self.prior
        check = {"draws": 14 + 2 * self.draws, "parts": 2, "delta_chi2_95": 1e12, "shift": 1e12}
        return {
            "run": {"name": RUN.name, "seed": 7 + self.seed, "fits": ["mine"]},
            "device": "cpu",
            "fits": {
                "mine": {
                    "data": [f"./{name}/dataset.yaml" for name in (*POINT, "numbers")],
                    "priors": {"ns": {"uniform": [low, 1.04]}},
                    "ensembles": 2,
                    "sampler": {**sampler, "tau_rtol": 9.0, "max_steps": 2000},
                }
            },
            "theory": {"emulator": {"check": {**check, "ess_fraction": 1e-9}}},
            "comparison": {
                "starts": 1,
                "predictive": None,
                "fixed": {
                    "harrison_zeldovich": None,
                    "tilted": {"fit": "mine", "title": "ns = 0.97", "values": {"ns": 0.97}},
                },
                "evidence": evidence[self.evidence],
            },
        }


def _data_set(folder: Path, **spec: Any) -> None:
    whole = {"title": folder.name, "sky": {}, "nuisance": {}, "citation": "nobody", **spec}
    _put(folder / "dataset.yaml", yaml.safe_dump(whole).encode())


def _put(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != raw:
        path.write_bytes(raw)


class _Sky:
    """An emulator of closed form: each spectrum is flat, of a height that all parameters move."""

    parameters, lmax = LCDM, LMAX
    box = {p: (m - 100 * s, m + 100 * s) for p, (m, s) in POINT.items()}  # noqa: RUF012
    settings = {"code": "closed form", "lmax": LMAX}  # noqa: RUF012

    def spectra(self, theta: torch.Tensor) -> Spectra:
        level = 1000 + 10 * theta.sum(1, keepdim=True)
        flat = level.expand(-1, LMAX + 1)
        named = {p: theta[:, i] for i, p in enumerate(LCDM)}
        named |= {p: (i + 1) * theta[:, -1] for i, p in enumerate(DERIVED)}
        return Spectra(
            {"tt": flat, "te": flat / 100, "ee": flat / 50, "bb": flat / 1e4, "pp": flat / 1e9}, named
        )


def _boltzmann(settings: Any, background: Mapping[str, float], late: Sequence[Any]) -> Any:
    """Stand for CAMB: the emulator's spectra, a part in a thousand higher."""
    amplitudes = [tuple(x.values()) if isinstance(x, Mapping) else x for x in late]
    theta = torch.tensor([[*background.values(), *x] for x in amplitudes], dtype=torch.float64)
    got = _Sky().spectra(theta)
    dl = 1.001 * np.stack([got.dl[p].numpy() for p in ("tt", "te", "ee", "bb", "pp")], 1)
    return dl, dl[:, :3] / 3, np.stack([got.parameters[p].numpy() for p in DERIVED], 1)


def make_cheap(patch: pytest.MonkeyPatch) -> None:
    """Let the closed forms stand for emulator and Boltzmann code, and the user's code run, in this process and its children."""
    from cmbfit.fit import build

    patch.setattr(build, "load_emulator", lambda *_: _Sky())
    patch.setattr(trainingset, "spectra_of_one_background", _boltzmann)
    # a user's files are read anew by each job, as by each process of a run
    patch.setattr(catalog, "description", _DESCRIPTION)
    patch.setenv("CMBFIT_ALLOW_CODE", "1")


def warm(patch: pytest.MonkeyPatch) -> None:
    """Do once, before all children, what each job's process does whatever it is asked: imports, docstrings, the code's version."""
    import camb  # noqa: F401
    import emcee  # noqa: F401
    import getdist  # noqa: F401
    import scipy.optimize
    import scipy.signal  # noqa: F401
    import xarray.backends  # noqa: F401

    known = entry.stages()
    patch.setattr(entry, "stages", lambda: known)
    for name in _STAGES:
        defopt.signature(getattr(import_module(f"pipeline.{name}"), name))
    provenance()
    gc.collect()
    gc.freeze()
