"""What a correction of an emulator has to learn: exact spectra minus its own, in the emulator's components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.theory.emulator.arrays import LOWL_EE_MAX
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.parameters import LCDM
from cmbfit.theory.spectra import BOLTZMANN_PAIRS

_DERIVED_SCALE = 1e-3  # relative error of a derived parameter that counts like one cosmic-variance sigma
_BARE = ("tt", "te", "ee")


@dataclass(frozen=True)
class Problem:
    """Residuals of an emulator, in units in which all outputs weigh alike.

    Attributes
    ----------
    theta : torch.Tensor, shape (n, n_parameters)
    y : numpy.ndarray, shape (n, n_out)
        Coordinates in the base's components and in those of `basis`, in cosmic-variance sigma; ln of
        low-l EE in the same unit; ln of the derived parameters in units of 1e-3.
    edges : dict of str to slice
        By block, ``lowl_ee`` and ``derived``: columns of `y`.
    unit : dict of str to numpy.ndarray
        ``y * unit`` is what is added to the emulator's components.
    basis : dict of str to numpy.ndarray, shape (n_more, n_l), float32
        By block: components beyond the base's own, orthogonal to them.
    validation : numpy.ndarray of bool, shape (n,)
        Rows that early stopping watches: whole backgrounds.
    """

    theta: torch.Tensor
    y: np.ndarray
    edges: dict[str, slice]
    unit: dict[str, np.ndarray]
    basis: dict[str, np.ndarray]
    validation: np.ndarray


def _block_residual(
    base: LinearEmulator,
    name: str,
    exact: dict[str, np.ndarray],
    theta: torch.Tensor,
    components: torch.Tensor,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a block leaves: coordinates in its own components, and the rest, shape (n, n_l)."""
    block = base.arrays.blocks[name]
    dl = np.concatenate([exact[p][:, low:] for p, low in zip(block.pairs, block.lmin, strict=True)], axis=1)
    amplitude = base.block_amplitude(name, theta).numpy()[:, None]
    rest = (dl / amplitude - base.blocks[name].decode(components).numpy()) / block.scale
    own = block.basis.astype(float)
    along = np.linalg.lstsq(own.T, rest.T, rcond=None)[0].T
    return along, rest - along @ own


def _validation_rows(background: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return rows of a random part of the backgrounds, shape (n,)."""
    backgrounds = np.unique(background)
    n_held = max(1, round(fraction * len(backgrounds)))
    return np.isin(background, np.random.default_rng(seed).choice(backgrounds, n_held, replace=False))


def residual_problem(
    base: LinearEmulator, runs: TrainingSet, *, more_components: int, validation: float, seed: int
) -> Problem:
    """Return what a correction of `base` has to learn from `runs`.

    Parameters
    ----------
    base : LinearEmulator
    runs : TrainingSet
        At least as far in l as the base.
    more_components : int
        Principal components of what each block of the base cannot hold.
    validation : float
        Fraction of the backgrounds in the validation rows.
    seed : int
        Of their choice.
    """
    theta = torch.from_numpy(runs.theta)
    point = theta[:, : len(LCDM)]
    components = base.components(point)
    lensed = {p: runs.dl[:, i, : base.lmax + 1] for i, p in enumerate(BOLTZMANN_PAIRS)}
    bare = {p: runs.unlensed[:, i, : base.lmax + 1] for i, p in enumerate(_BARE)}
    parts, unit, basis = {}, {}, {}
    for name in base.arrays.blocks:
        exact = bare if name == "unlensed" else lensed
        parts[name], rest = _block_residual(base, name, exact, point, components[name])
        if more_components:
            left = np.linalg.svd(rest, full_matrices=False)[2]
            basis[name] = left[: min(more_components, len(rest) // 2)].astype(np.float32)
            parts[name] = np.concatenate([parts[name], rest @ basis[name].T.astype(float)], axis=1)
        unit[name] = np.ones(parts[name].shape[1])
    scalar = base.scalar_amplitude(point).numpy()[:, None]
    ell = np.arange(2, LOWL_EE_MAX + 1)
    unit["lowl_ee"] = np.sqrt(2 / (2 * ell + 1))
    lowl = np.log(lensed["ee"][:, 2 : LOWL_EE_MAX + 1] / scalar) - components["lowl_ee"].T.numpy()
    parts["lowl_ee"] = lowl / unit["lowl_ee"]
    unit["derived"] = np.full(runs.derived.shape[1], _DERIVED_SCALE)
    parts["derived"] = (np.log(runs.derived) - components["derived"].T.numpy()) / unit["derived"]
    edges, start = {}, 0
    for name, values in parts.items():
        edges[name] = slice(start, start + values.shape[1])
        start = edges[name].stop
    held = _validation_rows(runs.background, validation, seed)
    return Problem(theta, np.concatenate(list(parts.values()), axis=1), edges, unit, basis, held)
