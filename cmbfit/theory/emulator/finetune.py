"""Reaching an extension from a base emulator with 50 to 500 Boltzmann runs.

What is learned is the extension's effect, D(theta, e) / base(theta): its coordinates in the base's
components and a few more. Methods:

- ``quadratic``: e (a + b theta) + c e^2, the expansion that needs no network;
- ``polynomial``: all terms e^i P(theta) up to a weighted degree, held the smaller the higher their degree, as each
  background is predicted best from the others (:mod:`~cmbfit.theory.emulator.smooth`);
- ``scratch``, ``last_layer``, ``low_rank``, ``all_weights``: networks, see
  :mod:`~cmbfit.theory.emulator.tuning`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import camb
import numpy as np

from cmbfit.errors import ConfigError, DataError
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.correction import (
    CorrectedEmulator,
    Correction,
    Features,
    HalfSpace,
    corrected,
    cut,
    in_base_model,
)
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import History, NetworkSettings
from cmbfit.theory.emulator.polynomial import weighted_degrees
from cmbfit.theory.emulator.residual import Problem, residual_problem
from cmbfit.theory.emulator.smooth import fit_smooth
from cmbfit.theory.emulator.train import focus_rows
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.emulator.tuning import tuned_network
from cmbfit.theory.extensions import EXTENSIONS
from cmbfit.theory.parameters import LCDM

log = logging.getLogger(__name__)

RELATIVE = ("lensing", "bb")
"""Blocks whose change is learned relative to the base's spectrum: extensions scale them."""

DARK_ENERGY = (HalfSpace({"w": 1.0, "wa": 1.0}, 0.0),)
"""Dark energy of w + wa > 0 would rule the early universe: CAMB refuses it."""

METHODS = ("quadratic", "polynomial", "scratch", "last_layer", "low_rank", "all_weights")
_RIDGES = tuple(10.0**k for k in range(-10, 0))
_FOLDS = 5
_NOTHING = 3e-4  # sigma_CV, rms over runs, norm over all multipoles: a term that carries less is left out
_HELIUM_DEGREE = 4  # of ombh2: within 1e-5 of the table, about the scatter of its last digits


@dataclass(frozen=True)
class FineTuneSettings:
    """How an extension is learned.

    Parameters
    ----------
    method : str
        One of :data:`METHODS`.
    more_components : int
        Components of each block beyond the base's, or of its change relative to the base.
    degree, weights : float, tuple of float
        Weighted degree of ``polynomial``: LCDM's parameters, then one number for the extension's.
    focus_weight : float
        Weight of a squared residual at a point of the design's focus, relative to the box.
    network : NetworkSettings
    validation : float
        Fraction of the runs that early stopping watches.
    """

    method: str = "polynomial"
    more_components: int = 12
    degree: float = 6.0
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.5, 1.5, 1.0, 0.6)
    focus_weight: float = 10.0
    network: NetworkSettings = NetworkSettings(width=96, depth=2, steps=1200)  # noqa: RUF009 (frozen)
    validation: float = 0.15

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"fine-tuning: expected a method of {', '.join(METHODS)}, found {self.method!r}"
            )
        if len(self.weights) != len(LCDM) + 1 or min(self.weights) <= 0:
            raise ConfigError(f"fine-tuning: expected {len(LCDM) + 1} positive weights, found {self.weights}")
        if self.focus_weight <= 0:
            raise ConfigError(f"fine-tuning: expected a positive focus_weight, found {self.focus_weight}")


def require_same_physics(base: Mapping[str, Any], runs: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Raise :class:`DataError` if the runs' code settings differ from the base emulator's (lmax may)."""
    ours, theirs = (x.get("camb", {}) for x in (base.get("trained_on", {}), runs))
    for key in sorted(set(ours) | set(theirs)):
        if key not in ("lmax", *names) and ours.get(key) != theirs.get(key):
            raise DataError(
                f"fine-tuning: {key} is {theirs.get(key)} in the runs, but {ours.get(key)} in the base emulator; "
                "compute the runs with the base's settings"
            )


def helium_of_baryons(settings: CambSettings, low: float, high: float) -> tuple[float, ...]:
    """Return nucleosynthesis' helium mass fraction as a polynomial of ombh2, coefficients from the constant up.

    Parameters
    ----------
    settings : CambSettings
        Names the table; N_eff and the temperature shift it.
    low, high : float
        Range of ombh2.
    """
    ombh2 = np.linspace(low, high, 200)
    table = camb.bbn.get_predictor(settings.bbn_table)
    shifted = ombh2 * (camb.constants.COBE_CMBTemp / settings.tcmb) ** 3
    helium = table.Y_He(shifted, settings.nnu - camb.constants.default_nnu)
    fit = np.polynomial.Polynomial.fit(ombh2, helium, _HELIUM_DEGREE)
    return tuple(fit.convert().coef.tolist())


def base_values(
    names: tuple[str, ...], settings: Mapping[str, Any], box: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, ...]]:
    """Return each extension's value in the base model as a polynomial of ombh2.

    Parameters
    ----------
    names : tuple of str
    settings : mapping
        The runs' ``camb`` settings.
    box : mapping of str to (low, high)
    """
    values: dict[str, tuple[float, ...]] = {}
    for name in names:
        default = EXTENSIONS[name].default
        if default is not None:
            values[name] = (default,)
        elif name == "YHe":
            known = {k: x for k, x in settings.items() if k in CambSettings.__dataclass_fields__}
            values[name] = helium_of_baryons(CambSettings(**known), *box["ombh2"])
        else:
            raise DataError(f"fine-tuning: {name} has no value in the base model to start from")
    return values


def _terms(settings: FineTuneSettings, n_extra: int) -> np.ndarray:
    """Return the polynomial terms that vary with the extension."""
    if settings.method == "quadratic":
        degrees = weighted_degrees((1.0,) * (len(LCDM) + n_extra), 2.0)
    else:
        weights = (*settings.weights[: len(LCDM)], *[settings.weights[-1]] * n_extra)
        degrees = weighted_degrees(weights, settings.degree)
    return degrees[degrees[:, len(LCDM) :].any(1)].astype(np.int8)


def _solve(features: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """Least squares with a ridge, relative to each feature's size."""
    size = np.sqrt((features**2).mean(0)) + 1e-300
    normed = features / size
    gram = normed.T @ normed
    gram[np.diag_indices_from(gram)] += ridge * len(features)
    return np.linalg.solve(gram, normed.T @ y) / size[:, None]


def _best_head(features: np.ndarray, y: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Fit the head with the ridge that cross-validation over backgrounds likes best."""
    folds = np.searchsorted(np.unique(background), background) % _FOLDS
    losses = []
    for ridge in _RIDGES:
        total = 0.0
        for fold in range(_FOLDS):
            out = folds == fold
            guess = features[out] @ _solve(features[~out], y[~out], ridge)
            total += np.square(guess - y[out]).sum()
        losses.append(total / y.size)
    return _solve(features, y, _RIDGES[int(np.argmin(losses))])


def _network(
    base: LinearEmulator,
    empty: Correction,
    problem: Problem,
    settings: FineTuneSettings,
    background: np.ndarray,
) -> tuple[Correction, History | None]:
    """Return the correction of a network: hidden layers by gradient descent, the head by least squares."""
    limits, values = empty.box, empty.base_values
    zero = in_base_model(problem.theta, tuple(limits), values)[:, len(LCDM) :]
    net, history = tuned_network(base, limits, problem, settings.method, settings.network, zero)
    layers = tuple((w.detach().double().numpy(), b.detach().double().numpy()) for w, b in net.hidden)
    made = replace(empty, layers=layers)
    # whatever made the features, their best head on all runs is a linear problem
    head = _best_head(Features(made)(problem.theta).T.numpy(), problem.y, background)
    return replace(
        made, heads={n: head[:, where] * problem.unit[n] for n, where in problem.edges.items()}
    ), history


def _polynomial(
    empty: Correction, problem: Problem, settings: FineTuneSettings, runs: TrainingSet
) -> tuple[Correction, dict[str, list[float]]]:
    """Return the correction of polynomials, and how fast each output's prior falls with the degrees."""
    made = replace(empty, degrees=_terms(settings, len(empty.base_values)))
    features = Features(made)(problem.theta).T.numpy()
    weight = np.where(focus_rows(runs), settings.focus_weight, 1.0)
    heads, decays = {}, {}
    size = np.sqrt(np.square(features).mean(0))
    carries = np.zeros(len(size), dtype=bool)
    for name, where in problem.edges.items():
        fit = fit_smooth(features, made.degrees, problem.y[:, where], runs.background, weight)
        carries |= size * np.linalg.norm(fit.head, axis=1) > _NOTHING
        heads[name] = (fit.head * problem.unit[name]).astype(np.float32)
        decays[name] = [round(float(x), 4) for x in fit.decay]
        log.info("%s: %.3g sigma_CV left (rms, norm over multipoles)", name, fit.loss**0.5)
    kept = {name: head[carries] for name, head in heads.items()}
    return replace(made, degrees=made.degrees[carries], heads=kept), decays


def fine_tune(
    base: LinearEmulator, runs: TrainingSet, settings: FineTuneSettings, box: Mapping[str, Any]
) -> tuple[CorrectedEmulator, History | None]:
    """Extend a base emulator to the parameters that the runs vary.

    Parameters
    ----------
    base : LinearEmulator
        Cut to the runs' lmax if it goes further.
    runs : TrainingSet
        `names` are LCDM's and the extension's.
    settings : FineTuneSettings
    box : mapping of str to (low, high)
        Where the runs lie: LCDM's parameters and the extension's.

    Returns
    -------
    CorrectedEmulator
        Equal to the base where the extension's parameters have their base values.
    History or None
        Losses, for the methods that train a network by gradient descent.

    Raises
    ------
    DataError
        If the runs vary no extension, are too few, or were made with other settings than the base.
    """
    extra = runs.names[len(LCDM) :]
    if not extra:
        raise DataError(f"fine-tuning: expected runs that vary an extension, found {', '.join(runs.names)}")
    if (n := len(np.unique(runs.background))) < 2 * _FOLDS:
        raise DataError(
            f"fine-tuning: {n} backgrounds are too few to judge a fit by cross-validation; expected {2 * _FOLDS}"
        )
    require_same_physics(base.settings, runs.settings, extra)
    limits = {p: (float(box[p][0]), float(box[p][1])) for p in runs.names}
    values = base_values(extra, runs.settings.get("camb", {}), limits)
    base = LinearEmulator(cut(base.arrays, min(base.lmax, runs.dl.shape[2] - 1)), base.settings)
    by_network = settings.method not in ("quadratic", "polynomial")
    relative = () if by_network else tuple(name for name in RELATIVE if name in base.arrays.blocks)
    problem = residual_problem(
        base,
        runs,
        more_components=settings.more_components,
        validation=settings.validation,
        seed=settings.network.seed,
        relative=relative,
    )
    no_terms = np.empty((0, len(limits)), dtype=np.int8)
    bounds = DARK_ENERGY if {"w", "wa"} <= set(extra) else ()
    empty = Correction(limits, values, (), no_terms, {}, problem.basis, relative, bounds)
    record = {
        "code": "emulator",
        "trained_on": {**runs.settings, "base": base.settings},
        "n_spectra": len(runs.theta),
        "n_failed_points": len(runs.failures),
        "fine_tuning": asdict(settings),
    }
    history = None
    if by_network:
        correction, history = _network(base, empty, problem, settings, runs.background)
    else:
        correction, record["decay"] = _polynomial(empty, problem, settings, runs)
    return corrected(base.arrays, correction, record), history
