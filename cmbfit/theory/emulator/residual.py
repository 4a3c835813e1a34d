"""What a correction of an emulator has to learn: exact spectra minus its own, in the emulator's components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.theory.emulator.arrays import LOWL_EE_MAX
from cmbfit.theory.emulator.correction import relative_unit
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
    basis : dict of str to numpy.ndarray, shape (n_more, n_l), float16
        By block: components beyond the base's own, orthogonal to them; of a relative block all there are.
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


def _relative_residual(
    base: LinearEmulator,
    name: str,
    exact: dict[str, np.ndarray],
    theta: torch.Tensor,
    components: torch.Tensor,
) -> np.ndarray:  # shape: (n, n_l)
    """Return exact over the emulator's spectrum of a block of one pair, minus 1, in units of cosmic variance."""
    block = base.arrays.blocks[name]
    (pair,) = block.pairs
    own = base.block_amplitude(name, theta).numpy()[:, None] * base.blocks[name].decode(components).numpy()
    return (exact[pair][:, block.lmin[0] :] / own - 1) / relative_unit(block)


def _principal(rest: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return principal components of rows as they are stored, and the rows' coordinates on them."""
    basis = np.linalg.svd(rest, full_matrices=False)[2][: min(n, max(1, len(rest) // 2))].astype(np.float16)
    return basis, np.linalg.lstsq(basis.T.astype(float), rest.T, rcond=None)[0].T


def _validation_rows(background: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return rows of a random part of the backgrounds, shape (n,)."""
    backgrounds = np.unique(background)
    n_held = max(1, round(fraction * len(backgrounds)))
    return np.isin(background, np.random.default_rng(seed).choice(backgrounds, n_held, replace=False))


def residual_problem(
    base: LinearEmulator,
    runs: TrainingSet,
    *,
    more_components: int,
    validation: float,
    seed: int,
    relative: tuple[str, ...] = (),
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
    relative : tuple of str
        Blocks whose change is taken relative to the base's spectrum.
    """
    theta = torch.from_numpy(runs.theta)
    point = theta[:, : len(LCDM)]
    components = base.components(point)
    lensed = {p: runs.dl[:, i, : base.lmax + 1] for i, p in enumerate(BOLTZMANN_PAIRS)}
    bare = {p: runs.unlensed[:, i, : base.lmax + 1] for i, p in enumerate(_BARE)}
    parts, unit, basis = {}, {}, {}
    for name in base.arrays.blocks:
        exact = bare if name == "unlensed" else lensed
        if name in relative:
            rest = _relative_residual(base, name, exact, point, components[name])
            basis[name], parts[name] = _principal(rest, more_components)
        else:
            parts[name], rest = _block_residual(base, name, exact, point, components[name])
            if more_components:
                basis[name], more = _principal(rest, more_components)
                parts[name] = np.concatenate([parts[name], more], axis=1)
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
