"""Boltzmann runs that show what evaporating holes do to the spectra, at several cosmologies and fractions.

Each run is divided by one of the same cosmology without holes. The redshift of reionisation is held,
which is what stars decide; the optical depth grows with the holes' ionisation. Massive neutrinos are left
out: they make a run 1.7 times longer and change the ratio by 1% of its distance from 1.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.checkpoint import Checkpoint, kept
from cmbfit.errors import ConfigError, DataError
from cmbfit.io import atomic_buffer, parse_json, reading
from cmbfit.theory.camb_code import CambSettings, camb_parameters
from cmbfit.theory.emulator.design import LCDM_FOCUS
from cmbfit.theory.hawking.pbh import MASS_RANGE, evaporation_spectra
from cmbfit.theory.parameters import LCDM
from cmbfit.theory.spectra import CMB_PAIRS

MAX_FRACTIONS: dict[float, float] = {
    1e14: 1e-9,
    3e14: 5e-8,
    1e15: 3e-6,
    3e15: 1e-4,
    1e16: 4e-3,
    3e16: 0.12,
    1e17: 1.0,
}
"""Mass [g]: the largest f_PBH times deposited share that is computed: some three times what Planck allows."""

FOCUS: dict[str, tuple[float, float]] = {**LCDM_FOCUS, "tau": (0.035, 0.09)}
"""Where posteriors with holes lie: these take a part of the optical depth."""


@dataclass(frozen=True)
class InjectionDesign:
    """Which runs are made: a Sobol design over cosmologies, each with `draws` fractions for every mass.

    Parameters
    ----------
    n_cosmologies, draws, seed, lmax : int
    max_fractions : mapping of float to float
        Mass [g]: largest fraction times deposited share.
    box : mapping of str to (float, float)
        Range of each of :data:`~cmbfit.theory.parameters.LCDM`.
    """

    n_cosmologies: int = 12
    draws: int = 2
    seed: int = 20260101
    lmax: int = 2600
    max_fractions: Mapping[float, float] = field(default_factory=lambda: dict(MAX_FRACTIONS))
    box: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(FOCUS))

    def __post_init__(self) -> None:
        if min(self.n_cosmologies, self.draws) < 1 or tuple(self.box) != LCDM:
            raise ConfigError(f"injection design: expected at least one run, and a box of {', '.join(LCDM)}")
        for mass, fraction in self.max_fractions.items():
            if not (MASS_RANGE[0] <= mass <= MASS_RANGE[1] and 0 < fraction <= 1):
                raise ConfigError(
                    f"injection design: expected masses in {MASS_RANGE} g and fractions in (0, 1], found {mass}: {fraction}"
                )

    def settings(self) -> dict[str, Any]:
        """Return what defines the points, JSON-able."""
        return asdict(self) | {
            "max_fractions": {f"{m:g}": f for m, f in self.max_fractions.items()},
            "box": {p: list(b) for p, b in self.box.items()},
        }

    def point(self, index: int) -> tuple[dict[str, float], np.ndarray]:
        """Return one cosmology, and for every mass (rows) its fractions over the largest."""
        from scipy.stats import qmc  # noqa: PLC0415 (a second)

        if not 0 <= index < self.n_cosmologies:
            raise ConfigError(
                f"injection design: expected a run in 0..{self.n_cosmologies - 1}, found {index}"
            )
        sobol = qmc.Sobol(len(LCDM) + len(self.max_fractions), rng=np.random.default_rng(self.seed))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
            unit = sobol.random(self.n_cosmologies)[index]
        low, high = np.array(list(self.box.values())).T
        cosmology = dict(zip(LCDM, (low + unit[: len(LCDM)] * (high - low)).tolist(), strict=True))
        first = unit[len(LCDM) :, None]
        return cosmology, (first + np.arange(self.draws)) / self.draws % 1.0


@dataclass(frozen=True)
class InjectionRuns:
    """Effects of evaporation on lensed spectra.

    Attributes
    ----------
    theta : numpy.ndarray, shape (n, 6)
        Columns of :data:`~cmbfit.theory.parameters.LCDM`; tau without the holes.
    mass, fraction : numpy.ndarray, shape (n,)
        Grams; f_PBH times the deposited share.
    effect : numpy.ndarray, shape (n, 4, lmax + 1)
        D/D_0 - 1 of tt, ee, bb and (D - D_0)/sqrt(D_0^tt D_0^ee) of te, in the order of `CMB_PAIRS`; 0 below l = 2.
    tau : numpy.ndarray, shape (n,)
        Optical depth with the holes.
    cosmology : numpy.ndarray, shape (n,)
        Number of the cosmology in the design.
    settings : dict
        Design and code.
    """

    theta: np.ndarray
    mass: np.ndarray
    fraction: np.ndarray
    effect: np.ndarray
    tau: np.ndarray
    cosmology: np.ndarray
    settings: dict[str, Any]


def _class_words(point: Mapping[str, float]) -> dict[str, float]:
    pars = camb_parameters(CambSettings(), **point)
    return {
        "h": pars.h,
        "omega_b": point["ombh2"],
        "omega_cdm": point["omch2"] + pars.omnuh2,
        "ln10^{10}A_s": point["logA"],
        "n_s": point["ns"],
        "N_ur": 3.044,
    }


def run_settings(design: InjectionDesign) -> dict[str, Any]:
    """Return what defines a design's runs but the code, JSON-able."""
    return {"design": design.settings(), "class": metadata.version("classy")}


def _run(mass: float, fraction: float, lmax: int, cosmology: Mapping[str, float]) -> dict[str, Any]:
    """Run CLASS once: spectra, tau and z_reio, as a checkpoint keeps them."""
    got = evaporation_spectra(mass, fraction, lmax=lmax, cosmology=cosmology)
    return {**{p: got.dl[p] for p in CMB_PAIRS}, "tau": got.tau, "z_reio": got.z_reio}


def compute_injection(
    design: InjectionDesign,
    index: int,
    log: Callable[[str], None] = print,
    store: Checkpoint | None = None,
) -> InjectionRuns:
    """Run CLASS at one cosmology of a design: once without holes, then for every mass and fraction.

    Finished runs go to a checkpoint one by one.

    Raises
    ------
    SolverError
        If CLASS fails.
    """
    point, units = design.point(index)
    words = _class_words(point)
    run = partial(_run, lmax=design.lmax)
    without = partial(run, min(design.max_fractions), 0.0, cosmology={**words, "tau_reio": point["tau"]})
    base = kept(store, "without", without)
    words["z_reio"] = float(base["z_reio"])
    norm = {p: base[p][2:] for p in ("tt", "ee", "bb")}
    norm["te"] = np.sqrt(norm["tt"] * norm["ee"])
    rows: list[tuple[float, float, np.ndarray, float]] = []
    start = time.perf_counter()
    for (mass, largest), unit in zip(design.max_fractions.items(), units, strict=True):
        for u in unit.tolist():
            got = kept(store, f"run_{len(rows)}", partial(run, mass, u * largest, cosmology=words))
            effect = np.zeros((len(CMB_PAIRS), design.lmax + 1))
            for i, pair in enumerate(CMB_PAIRS):
                effect[i, 2:] = (got[pair] - base[pair])[2:] / norm[pair]
            rows.append((mass, u * largest, effect, float(got["tau"])))
        log(f"cosmology {index}: {mass:g} g, {(time.perf_counter() - start) / len(rows):.1f} s a run")
    n = len(rows)
    masses, fractions, effects, tau = zip(*rows, strict=True)
    return InjectionRuns(
        theta=np.tile(list(point.values()), (n, 1)),
        mass=np.array(masses),
        fraction=np.array(fractions),
        effect=np.array(effects),
        tau=np.array(tau),
        cosmology=np.full(n, index),
        settings=run_settings(design),
    )


_ARRAYS = ("theta", "mass", "fraction", "effect", "tau", "cosmology")


def write_runs(path: str | Path, runs: InjectionRuns) -> None:
    """Publish runs atomically as .npz (no pickles)."""
    record = np.frombuffer(json.dumps(runs.settings, sort_keys=True).encode(), dtype=np.uint8)
    arrays = {name: getattr(runs, name) for name in _ARRAYS}
    arrays["effect"] = arrays["effect"].astype(np.float32)
    with atomic_buffer(path) as f:
        np.savez_compressed(f, record=record, **arrays)


def _require_shapes(runs: InjectionRuns) -> None:
    shapes = {name: getattr(runs, name).shape for name in _ARRAYS}
    n = len(runs.theta)
    expected = {"theta": (n, len(LCDM)), "effect": (n, len(CMB_PAIRS), runs.settings["design"]["lmax"] + 1)}
    if shapes != dict.fromkeys(_ARRAYS, (n,)) | expected:
        raise ValueError(f"arrays of shapes {shapes}")


def read_runs(paths: Sequence[str | Path]) -> InjectionRuns:
    """Join files of runs.

    Raises
    ------
    DataError
        If a file is damaged, or comes from another design.
    """
    parts: list[InjectionRuns] = []
    for path in paths:
        with reading(path, "runs of evaporating holes (damaged: remove it and run again)"):
            with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as f:
                settings = parse_json(f["record"].tobytes())
                parts.append(InjectionRuns(**{name: f[name] for name in _ARRAYS}, settings=settings))
            _require_shapes(parts[-1])
        if parts[-1].settings != parts[0].settings:
            raise DataError(f"{path}: made with other settings than {paths[0]}")
    if not parts:
        raise DataError("runs of evaporating holes: no file is given")
    arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _ARRAYS}
    return InjectionRuns(**arrays, settings=parts[0].settings)
