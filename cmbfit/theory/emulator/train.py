"""Fit the linear-decoder emulator: principal components and least squares, no training loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmbfit.errors import ConfigError, DataError
from cmbfit.theory.emulator.arrays import LOGA_PIVOT, LOWL_EE_MAX, Block, EmulatorArrays, amplitude
from cmbfit.theory.emulator.polynomial import LegendreFeatures, weighted_degrees
from cmbfit.theory.emulator.trainingset import PAIRS, TrainingSet
from cmbfit.theory.parameters import LCDM

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitSettings:
    """Size of the emulator.

    Parameters
    ----------
    degree : float
        Limit of the weighted polynomial degree.
    weights : tuple of float
        Weight of each parameter's degree, in the order of :data:`~cmbfit.theory.parameters.LCDM`.
    cmb_components, lensing_components : int
        Principal components kept.
    """

    degree: float = 5
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 0.6, 1.0, 1.0)
    cmb_components: int = 64
    lensing_components: int = 24

    def __post_init__(self) -> None:
        if len(self.weights) != len(LCDM) or min(self.weights) <= 0 or self.degree <= 0:
            raise ConfigError(
                f"emulator fit: expected {len(LCDM)} positive weights and a positive degree, found {self}"
            )


def cosmic_variance_sigma(dl: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the cosmic-variance error of D_l per multipole for a full sky, from l = 0.

    sigma(TT) = sqrt(2 / (2l+1)) D_TT, sigma(TE)^2 = (D_TT D_EE + D_TE^2) / (2l+1), pp as TT.

    Parameters
    ----------
    dl : mapping
        tt, te, ee and pp, each (lmax + 1,).
    """
    n_modes = 2 * np.arange(len(dl["tt"])) + 1.0
    return {
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
    values, vectors = np.linalg.eigh(centred @ centred.T)
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
    if tuple(box) != LCDM:
        box = {name: box[name] for name in LCDM}
    lmax = lmax or training.dl.shape[2] - 1
    degrees = weighted_degrees(settings.weights, settings.degree)
    n, n_terms = len(training.theta), len(degrees)
    if n < 1.3 * n_terms:
        raise DataError(
            f"{n} spectra are too few for {n_terms} polynomial terms (at least {int(1.3 * n_terms) + 1}); "
            "lower the degree or compute more chunks"
        )
    dl = {pair: training.dl[:, i, : lmax + 1] for i, pair in enumerate(PAIRS)}
    scale = cosmic_variance_sigma({p: np.median(dl[p], axis=0) for p in ("tt", "te", "ee", "pp")})
    logA = training.theta[:, LCDM.index("logA")]
    amp = amplitude(training.theta, LCDM)[:, None]
    scalar = np.exp(logA - LOGA_PIVOT)[:, None]
    cmb, cmb_coordinates = _block(
        {p: dl[p] / amp for p in ("tt", "te", "ee")},
        scale,
        {"tt": 2, "te": 2, "ee": LOWL_EE_MAX + 1},
        settings.cmb_components,
    )
    lensing, lensing_coordinates = _block(
        {"pp": dl["pp"] / scalar}, scale, {"pp": 2}, settings.lensing_components
    )
    features = (
        LegendreFeatures([(low, high) for low, high in box.values()], degrees)(
            torch.from_numpy(training.theta)
        )
        .numpy()
        .T
    )
    targets = np.concatenate(
        [
            cmb_coordinates,
            lensing_coordinates,
            np.log(dl["ee"][:, 2 : LOWL_EE_MAX + 1] / scalar),
            np.log(training.derived),
        ],
        axis=1,
    )
    coefficients, _, rank, _ = np.linalg.lstsq(features, targets, rcond=None)
    if rank < n_terms:
        raise DataError(f"the design determines only {rank} of {n_terms} polynomial terms")
    log.info("fitted %d terms to %d spectra, lmax %d", n_terms, n, lmax)
    edges = np.cumsum([cmb_coordinates.shape[1], lensing_coordinates.shape[1], LOWL_EE_MAX - 1])
    c_cmb, c_lensing, c_lowl, c_derived = (
        np.ascontiguousarray(c) for c in np.split(coefficients, edges, axis=1)
    )
    return EmulatorArrays(
        box={name: (float(low), float(high)) for name, (low, high) in box.items()},
        lmax=lmax,
        degrees=degrees,
        cmb=Block(cmb.pairs, cmb.lmin, cmb.mean, cmb.scale, cmb.basis, c_cmb),
        lensing=Block(lensing.pairs, lensing.lmin, lensing.mean, lensing.scale, lensing.basis, c_lensing),
        lowl_ee=c_lowl,
        derived=c_derived,
    )


def split_by_background(training: TrainingSet, held_out_fraction: float) -> tuple[TrainingSet, TrainingSet]:
    """Split into training and held-out parts that share no background.

    The held-out backgrounds are the last ones of the design, so that the split does not depend on
    how many chunks precede them.
    """
    backgrounds = np.unique(training.background)
    n_held = max(1, round(held_out_fraction * len(backgrounds)))
    held = np.isin(training.background, backgrounds[-n_held:])
    return training.select(~held), training.select(held)


def training_settings(training: TrainingSet, settings: FitSettings) -> dict[str, Any]:
    """Return the JSON-able record of how an emulator came to be."""
    return {
        "code": "emulator",
        "trained_on": training.settings,
        "n_spectra": len(training.theta),
        "n_failed_points": len(training.failures),
        "degree": settings.degree,
        "weights": list(settings.weights),
        "components": [settings.cmb_components, settings.lensing_components],
    }
