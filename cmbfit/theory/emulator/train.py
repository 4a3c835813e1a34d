"""Training of the linear-decoder emulator: principal components and least squares, no training loop.

A design may hold a `focus`, where published posteriors lie: its spectra enter the least squares with a
heavier weight, and held-out backgrounds come from both, so that both errors are known.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import torch

from cmbfit.errors import ConfigError, DataError, unknown_name
from cmbfit.theory.emulator.arrays import LOGA_PIVOT, LOWL_EE_MAX, Block, EmulatorArrays, amplitude
from cmbfit.theory.emulator.coordinates import COORDINATES, Coordinates
from cmbfit.theory.emulator.polynomial import LegendreFeatures, weighted_degrees
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.parameters import LCDM
from cmbfit.theory.spectra import BOLTZMANN_PAIRS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitSettings:
    """Size of the emulator.

    Parameters
    ----------
    degree : float
        Limit of the weighted polynomial degree of the linear blocks and the derived parameters.
    weights : tuple of float
        Weight of each parameter's degree, in the order of :data:`~cmbfit.theory.parameters.LCDM`.
    lowl_degree, lowl_weights : float, tuple of float
        The same for EE at l < 30.
    coordinates : str
        Variables of the polynomials: see :class:`~cmbfit.theory.emulator.coordinates.Coordinates`.
    cmb_components, lensing_components, bb_components, unlensed_components : int
        Principal components kept; 0 leaves bb or the unlensed spectra out.
    focus_weight : float
        Weight of a squared residual at a point of the design's focus, relative to the box.
    """

    degree: float = 5
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 0.6, 1.0, 1.0)
    lowl_degree: float = 6
    lowl_weights: tuple[float, ...] = (1.5, 1.5, 2.0, 0.35, 6.0, 1.5)
    coordinates: str = "zre"
    cmb_components: int = 80
    lensing_components: int = 24
    bb_components: int = 24
    unlensed_components: int = 64
    focus_weight: float = 10.0

    def __post_init__(self) -> None:
        for weights, degree in ((self.weights, self.degree), (self.lowl_weights, self.lowl_degree)):
            if len(weights) != len(LCDM) or min(weights) <= 0 or degree <= 0:
                raise ConfigError(
                    f"emulator fit: expected {len(LCDM)} positive weights and a positive degree, found {self}"
                )
        if self.coordinates not in COORDINATES:
            raise ConfigError(
                f"emulator fit: coordinates: expected one of {', '.join(COORDINATES)}, found {self.coordinates!r}"
            )
        if min(self.cmb_components, self.lensing_components) < 1 or self.focus_weight <= 0:
            raise ConfigError(f"emulator fit: expected positive components and weights, found {self}")


def cosmic_variance_sigma(dl: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the cosmic-variance error of D_l per multipole for a full sky, from l = 0.

    sigma(TT) = sqrt(2 / (2l+1)) D_TT, sigma(TE)^2 = (D_TT D_EE + D_TE^2) / (2l+1), pp as TT.

    Parameters
    ----------
    dl : mapping
        tt, te, ee and pp, each (lmax + 1,); bb is taken like tt where it is given.
    """
    n_modes = 2 * np.arange(len(dl["tt"])) + 1.0
    bb = {"bb": np.sqrt(2 / n_modes) * dl["bb"]} if "bb" in dl else {}
    return bb | {
        "tt": np.sqrt(2 / n_modes) * dl["tt"],
        "te": np.sqrt((dl["tt"] * dl["ee"] + dl["te"] ** 2) / n_modes),
        "ee": np.sqrt(2 / n_modes) * dl["ee"],
        "pp": np.sqrt(2 / n_modes) * dl["pp"],
    }


def _principal_components(
    targets: np.ndarray, n_components: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, float32 basis and coordinates of `targets`, shape (n, n_l)."""
    mean = targets.mean(0)
    centred = targets - mean
    # from the small Gram matrix: the spectra are many numbers each, the rows are few
    n = len(centred)
    values, vectors = scipy.linalg.eigh(centred @ centred.T, subset_by_index=(n - n_components, n - 1))
    order = np.argsort(values)[::-1][:n_components]
    order = order[
        values[order] > 1e-14 * values.max()
    ]  # fewer directions than asked for: keep those there are
    basis = (vectors[:, order].T @ centred) / np.sqrt(values[order])[:, None]
    stored = basis.astype(np.float32)  # coordinates are taken on the basis as it is stored
    coordinates = np.linalg.lstsq(stored.astype(float).T, centred.T, rcond=None)[0].T
    return mean, stored, coordinates


def _block(
    targets: dict[str, np.ndarray], scale: dict[str, np.ndarray], lmin: dict[str, int], n_components: int
) -> tuple[Block, np.ndarray]:
    """Return a block without coefficients, and the coordinates to be regressed."""
    pairs = tuple(targets)
    units = np.concatenate([scale[p][lmin[p] :] for p in pairs])
    values = np.concatenate([targets[p][:, lmin[p] :] for p in pairs], axis=1) / units
    mean, basis, coordinates = _principal_components(values, min(n_components, len(values) - 1))
    return Block(pairs, tuple(lmin[p] for p in pairs), mean, units, basis, np.empty(0)), coordinates


def _targets(
    training: TrainingSet, settings: FitSettings, lmax: int
) -> tuple[dict[str, Block], dict[str, np.ndarray]]:
    """Return blocks without coefficients, and what the polynomials are fitted to, by name."""
    dl = {pair: training.dl[:, i, : lmax + 1] for i, pair in enumerate(BOLTZMANN_PAIRS)}
    scale = cosmic_variance_sigma({p: np.median(dl[p], axis=0) for p in BOLTZMANN_PAIRS})
    amp = amplitude(training.theta, LCDM)[:, None]
    scalar = np.exp(training.theta[:, LCDM.index("logA")] - LOGA_PIVOT)[:, None]
    lmin = {"tt": 2, "te": 2, "ee": LOWL_EE_MAX + 1}
    plans: dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, int], int]] = {
        "cmb": ({p: dl[p] / amp for p in lmin}, scale, lmin, settings.cmb_components),
        "lensing": ({"pp": dl["pp"] / scalar}, scale, {"pp": 2}, settings.lensing_components),
    }
    if settings.bb_components:
        plans["bb"] = ({"bb": dl["bb"] / (amp * scalar)}, scale, {"bb": 2}, settings.bb_components)
    if settings.unlensed_components:
        bare = {p: training.unlensed[:, i, : lmax + 1] for i, p in enumerate(lmin)}
        # in units of what is observed: of unlensed power at l = 5000 only its lensed image matters
        plans["unlensed"] = ({p: x / amp for p, x in bare.items()}, scale, lmin, settings.unlensed_components)
    blocks, targets = {}, {}
    for name, plan in plans.items():
        blocks[name], targets[name] = _block(*plan)
    targets["lowl_ee"] = np.log(dl["ee"][:, 2 : LOWL_EE_MAX + 1] / scalar)
    targets["derived"] = np.log(training.derived)
    return blocks, targets


def merged_degrees(*sets: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the union of sets of terms, and where each set's terms lie in it."""
    terms = sorted(
        {tuple(d) for degrees in sets for d in degrees.tolist()},
        key=lambda d: (sum(x > 0 for x in d), d),
    )
    position = {d: i for i, d in enumerate(terms)}
    return np.array(terms, dtype=np.int64), [
        np.array([position[tuple(d)] for d in degrees.tolist()]) for degrees in sets
    ]


def focus_rows(training: TrainingSet) -> np.ndarray:
    """Return which spectra belong to the design's focus, shape (n,)."""
    first = training.settings.get("design", {}).get("n_backgrounds", np.inf)
    return training.background >= first


def _solve(features: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least squares; refuses a design that cannot tell its terms apart."""
    n_terms = features.shape[1]
    coefficients, _, rank, _ = np.linalg.lstsq(features * weight, targets * weight, rcond=None)
    if rank < n_terms:
        raise DataError(f"the design determines only {rank} of {n_terms} polynomial terms")
    return coefficients


def fit_emulator(
    training: TrainingSet, settings: FitSettings, box: Mapping[str, Sequence[float]], lmax: int | None = None
) -> EmulatorArrays:
    """Fit an emulator to a training set by linear least squares.

    Parameters
    ----------
    training : TrainingSet
    settings : FitSettings
    box : mapping of str to (low, high)
        The design's box: where the emulator may be asked.
    lmax : int, optional
        Default: as far as the training spectra go.

    Raises
    ------
    DataError
        If there are too few spectra for the number of polynomial terms.
    """
    if not training.theta.shape[1] == len(LCDM):
        raise DataError(
            f"the base emulator is one of {', '.join(LCDM)}; for {', '.join(training.names)} fine-tune one"
        )
    lmax = lmax or training.dl.shape[2] - 1
    prepared = prepare(training, settings, lmax)
    log.info("principal components of %d spectra, lmax %d", len(training.theta), lmax)
    return fit_prepared(prepared, settings, box)


@dataclass(frozen=True)
class Prepared:
    """What does not depend on the polynomials: principal components and the targets' coordinates.

    Attributes
    ----------
    theta : numpy.ndarray, shape (n, 6)
    blocks : dict of str to Block
        Without coefficients.
    targets : dict of str to numpy.ndarray, shape (n, n_components)
    focus : numpy.ndarray of bool, shape (n,)
    lmax : int
    """

    theta: np.ndarray
    blocks: dict[str, Block]
    targets: dict[str, np.ndarray]
    focus: np.ndarray
    lmax: int

    def select(self, rows: np.ndarray) -> Prepared:
        """Return some rows on the same components."""
        targets = {name: t[rows] for name, t in self.targets.items()}
        return Prepared(self.theta[rows], self.blocks, targets, self.focus[rows], self.lmax)


def prepare(training: TrainingSet, settings: FitSettings, lmax: int) -> Prepared:
    """Compute principal components and coordinates, the costly part that all polynomials share."""
    blocks, targets = _targets(training, settings, lmax)
    return Prepared(training.theta, blocks, targets, focus_rows(training), lmax)


def evaluate_features(
    theta: np.ndarray,  # shape: (n, 6)
    box: Mapping[str, Sequence[float]],
    kind: str,
    degrees: np.ndarray,
) -> np.ndarray:  # shape: (n, n_terms)
    """Return the polynomial features of points."""
    coordinates = Coordinates({name: box[name] for name in LCDM}, kind)
    return (
        LegendreFeatures(list(coordinates.box.values()), degrees)(coordinates(torch.from_numpy(theta)))
        .numpy()
        .T
    )


def fit_prepared(
    prepared: Prepared, settings: FitSettings, box: Mapping[str, Sequence[float]]
) -> EmulatorArrays:
    """Fit the polynomials of prepared targets; errors as in :func:`fit_emulator`."""
    limits = {name: (float(box[name][0]), float(box[name][1])) for name in LCDM}
    sets = (
        weighted_degrees(settings.weights, settings.degree),
        weighted_degrees(settings.lowl_weights, settings.lowl_degree),
    )
    n, n_largest = len(prepared.theta), max(len(s) for s in sets)
    if n < 1.3 * n_largest:
        raise DataError(
            f"{n} spectra are too few for {n_largest} polynomial terms (at least {int(1.3 * n_largest) + 1}); "
            "lower the degree or compute more chunks"
        )
    degrees, (at_linear, at_lowl) = merged_degrees(*sets)
    features = evaluate_features(prepared.theta, limits, settings.coordinates, degrees)
    weight = np.where(prepared.focus, settings.focus_weight, 1.0)[:, None] ** 0.5
    targets = prepared.targets
    full: dict[str, np.ndarray] = {}
    linear = [name for name in targets if name != "lowl_ee"]
    solved = _solve(features[:, at_linear], np.concatenate([targets[n] for n in linear], axis=1), weight)
    edges = np.cumsum([targets[name].shape[1] for name in linear])[:-1]
    for name, part in zip(linear, np.split(solved, edges, axis=1), strict=True):
        full[name] = np.zeros((len(degrees), part.shape[1]))
        full[name][at_linear] = part
    full["lowl_ee"] = np.zeros((len(degrees), targets["lowl_ee"].shape[1]))
    full["lowl_ee"][at_lowl] = _solve(features[:, at_lowl], targets["lowl_ee"], weight)
    log.info("fitted %d terms to %d spectra", len(degrees), n)
    done = {name: replace(block, coefficients=full[name]) for name, block in prepared.blocks.items()}
    return EmulatorArrays(
        box=limits,
        lmax=prepared.lmax,
        degrees=degrees,
        cmb=done.pop("cmb"),
        lensing=done.pop("lensing"),
        lowl_ee=full["lowl_ee"],
        derived=full["derived"],
        coordinates=settings.coordinates,
        more=done,
    )


def held_out_rows(training: TrainingSet, fraction: float) -> np.ndarray:
    """Return which spectra are held out, shape (n,), bool: whole backgrounds.

    They are the last ones of the design's box and the last ones of its focus, so that the choice does
    not depend on how many chunks precede them.
    """
    focus, held = focus_rows(training), np.zeros(len(training.theta), dtype=bool)
    for part in (focus, ~focus):
        backgrounds = np.unique(training.background[part])
        if len(backgrounds):
            n_held = max(1, round(fraction * len(backgrounds)))
            held |= np.isin(training.background, backgrounds[-n_held:])
    return held


def split_by_background(training: TrainingSet, held_out_fraction: float) -> tuple[TrainingSet, TrainingSet]:
    """Split into training and held-out parts that share no background, see :func:`held_out_rows`."""
    held = held_out_rows(training, held_out_fraction)
    return training.select(~held), training.select(held)


def training_settings(training: TrainingSet, settings: FitSettings) -> dict[str, Any]:
    """Return the JSON-able record of how an emulator came to be."""
    return {
        "code": "emulator",
        "trained_on": training.settings,
        "n_spectra": len(training.theta),
        "n_failed_points": len(training.failures),
        "fit": {k: list(x) if isinstance(x, tuple) else x for k, x in asdict(settings).items()},
    }


def fit_settings(fields: Mapping[str, Any]) -> FitSettings:
    """Return settings from a configuration's section; lists become tuples.

    Raises
    ------
    ConfigError
        If a key is unknown.
    """
    known = FitSettings.__dataclass_fields__
    if unknown := [name for name in fields if name not in known]:
        raise ConfigError(unknown_name("emulator fit setting", unknown[0], known))
    converted: dict[str, Any] = {k: tuple(x) if isinstance(x, list) else x for k, x in fields.items()}
    return FitSettings(**converted)
