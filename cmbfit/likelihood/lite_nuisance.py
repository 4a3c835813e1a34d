"""Nuisance parameters of a multi-frequency set as standard normals: overall calibrations split from relative ones.

See :mod:`cmbfit.likelihood.lite`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import linalg

from cmbfit.errors import LikelihoodError, unknown_name
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.priors import Gaussian, JointGaussian
from cmbfit.likelihood.steps import Derivative, Rescale

CALIBRATIONS = {"Tcal": {"tt": 2.0, "te": 1.0}, "Ecal": {"te": 1.0, "ee": 2.0}}
"""Calibrations of the new data set, and the powers by which they divide each pair."""


class StandardNuisance:
    """Nuisance parameters as affine functions of standardised ones, and the ln prior of those.

    Parameters
    ----------
    like : MultiFrequencyBandpowers
    hold : sequence of str
        Calibrations that stay at 1 in the place of the gauge.
    """

    def __init__(self, like: MultiFrequencyBandpowers, hold: Sequence[str]) -> None:
        model, info = like.model, like.info
        moved = {n for s in model.steps if isinstance(s, Derivative) for n in s.parameters}
        scales = {n for s in model.steps if isinstance(s, Rescale) for n in s.parameters}
        others = {n for s in model.steps if not isinstance(s, Rescale) for n in s.parameters}
        self.names = tuple(like.outside(n) for n in model.parameters)
        self.moved = tuple(like.outside(n) for n in model.parameters if n in moved)
        gauged = [i for i, n in enumerate(model.parameters) if n in scales - others]
        self.mean, precision = _gaussian(info.nuisance, info.joint_priors, self.names, info.name)
        free = [i for i, n in enumerate(model.parameters) if n not in moved and i not in gauged]
        mixed = precision[np.ix_(gauged, [i for i in range(len(self.names)) if i not in gauged])]
        if mixed.any():
            raise LikelihoodError(
                f"{info.name}: a calibration's prior is correlated with a foreground's, which is not split"
            )
        self.calibrations, directions = _overall(like, [self.names[i] for i in gauged], self.mean)
        pi = precision[np.ix_(gauged, gauged)]
        kept = directions.T @ pi @ directions
        self.calibration_covariance = np.linalg.inv(kept) if len(kept) else np.zeros((0, 0))
        gauge = directions.T @ pi
        if hold:
            gauge = _held(hold, [self.names[i] for i in gauged], directions, info.name)
        null = linalg.null_space(gauge) if len(gauge) else np.eye(len(gauged))
        relative = pi - pi @ directions @ self.calibration_covariance @ directions.T @ pi
        values, vectors = np.linalg.eigh(null.T @ relative @ null)
        if len(values) and values[0] <= 0:
            raise LikelihoodError(f"{info.name}: the relative calibrations have no prior")
        self.basis = np.zeros((len(self.names), len(free) + null.shape[1]))
        inner = precision[np.ix_(free, free)]
        self.basis[np.ix_(free, range(len(free)))] = np.linalg.cholesky(np.linalg.inv(inner))
        self.basis[np.ix_(gauged, range(len(free), self.basis.shape[1]))] = (
            null @ vectors / np.sqrt(values) if gauged else np.zeros((0, 0))
        )
        self.variance = {n: 1 / precision[i, i] for i, n in enumerate(self.names) if n in self.moved}


def _held(hold: Sequence[str], names: list[str], directions: np.ndarray, where: str) -> np.ndarray:
    """Return the rows that pick the calibrations that stay at their mean."""
    if unknown := [n for n in hold if n not in names]:
        raise LikelihoodError(f"{where}: hold: {unknown_name('calibration', unknown[0], names)}")
    rows = np.eye(len(names))[[names.index(n) for n in hold]]
    if len(hold) != directions.shape[1] or np.linalg.matrix_rank(rows @ directions) < directions.shape[1]:
        raise LikelihoodError(
            f"{where}: hold: expected {directions.shape[1]} calibrations, one of T and one of E, found {', '.join(hold)}"
        )
    return rows


def _gaussian(
    single: Mapping[str, object], joint: Sequence[JointGaussian], names: Sequence[str], where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and precision of Gaussian priors."""
    mean, covariance = np.zeros(len(names)), np.zeros((len(names), len(names)))
    at = {n: i for i, n in enumerate(names)}
    for n, i in at.items():
        prior = single[n]
        if not isinstance(prior, Gaussian):
            raise LikelihoodError(
                f"{where}: {n} needs a Gaussian prior to be marginalised: give one (priors: {{{n}: {{gaussian: [..., ...]}}}})"
            )
        mean[i], covariance[i, i] = prior.mean, prior.std**2
    for block in joint:
        where_ = [at[n] for n in block.names if n in at]
        keep = [j for j, n in enumerate(block.names) if n in at]
        mean[where_] = np.array(block.mean)[keep]
        covariance[np.ix_(where_, where_)] = np.array(block.covariance)[np.ix_(keep, keep)]
    return mean, np.linalg.inv(covariance)


def _overall(
    like: MultiFrequencyBandpowers, names: list[str], mean: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return which of :data:`CALIBRATIONS` are combinations of the parameters `names`, and the combinations as columns."""
    model = like.model
    own = {like.outside(n): n for n in model.parameters}
    base = {own[n]: torch.tensor([m], dtype=torch.float64) for n, m in zip(_outside(like), mean, strict=True)}
    if not names:
        return (), np.zeros((0, 0))
    columns = []
    for n in names:
        ends = [_scales(like, base | {own[n]: base[own[n]] + h}) for h in (-1e-4, 1e-4)]
        columns.append((ends[1] - ends[0]) / 2e-4)
    response = np.stack(columns, axis=1)
    found, directions = [], []
    for name, powers in CALIBRATIONS.items():
        wanted = np.array([-powers.get(s.pair, 0.0) for s in model.spectra])
        solution = np.linalg.lstsq(response, wanted, rcond=None)[0]
        if wanted.any() and np.allclose(response @ solution, wanted, atol=1e-3):
            found.append(name)
            directions.append(solution)
    return tuple(found), np.stack(directions, axis=1) if directions else np.zeros((len(names), 0))


def _outside(like: MultiFrequencyBandpowers) -> list[str]:
    return [like.outside(n) for n in like.model.parameters]


def _scales(like: MultiFrequencyBandpowers, values: Mapping[str, torch.Tensor]) -> np.ndarray:
    """Return ln of the calibrations of each spectrum, shape (n_spectra,)."""
    total = torch.zeros(1, len(like.model.spectra), dtype=torch.float64)
    for step in like.model.steps:
        if isinstance(step, Rescale):
            total = total + step.factors(values).log()
    return total[0].numpy()
