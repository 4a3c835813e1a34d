r"""CMB bandpowers of a multi-frequency data set, marginalised over foregrounds and relative calibrations.

Dunkley et al. 2013 (arXiv:1301.0776): bandpowers of the CMB, each seen by all spectra of its pair, are parameters beside those
of foregrounds and calibrations. Balkenhol 2024 (arXiv:2412.00826): the maximum of that posterior and its Hessian there give them
and their covariance, without sampling.

What moves multipoles (aberration) is kept in the windows; what moves them by a parameter (super-sample lensing) enters the
covariance at a fiducial model. Calibrations c with precision Pi are split: the directions U that scale all spectra of T or E
alike are kept for the new data set's own calibrations, whose covariance is (U^T Pi U)^-1, and the rest is marginalised in the
gauge U^T Pi (c - mean) = 0, in which the two are independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg

from cmbfit.errors import LikelihoodError, unknown_name
from cmbfit.likelihood.cuts import centres
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.priors import Gaussian, JointGaussian
from cmbfit.likelihood.steps import Add, AddBinned, Derivative, Rescale
from cmbfit.theory.spectra import Spectra

CALIBRATIONS = {"Tcal": {"tt": 2.0, "te": 1.0}, "Ecal": {"te": 1.0, "ee": 2.0}}
"""Calibrations of the new data set, and the powers by which they divide each pair."""

_STEP = 0.02
"""Of differences of gradients, in standard deviations: errors of 1e-4 of the Hessian."""

_CONVERGED = 1e-3
"""Largest last Newton step, in standard deviations."""


@dataclass(frozen=True)
class Lite:
    """CMB-only bandpowers.

    Attributes
    ----------
    pairs : tuple of str
        Pair of each bandpower, in blocks.
    data : numpy.ndarray, shape (n,)
        D_l [uK^2].
    covariance : numpy.ndarray, shape (n, n)
        Without the calibrations.
    windows : dict of str to numpy.ndarray, shape (n of the pair, lmax + 1)
        On D_l of the CMB, l from 0.
    calibrations : tuple of str
        Of :data:`CALIBRATIONS`, those that are left to vary around 1.
    calibration_covariance : numpy.ndarray, shape (n_calibrations, n_calibrations)
    nuisance : dict of str to (float, float)
        Mean and standard deviation of what was marginalised.
    steps : int
        Newton steps.
    """

    pairs: tuple[str, ...]
    data: np.ndarray
    covariance: np.ndarray
    windows: dict[str, np.ndarray]
    calibrations: tuple[str, ...]
    calibration_covariance: np.ndarray
    nuisance: dict[str, tuple[float, float]]
    steps: int


def design(like: MultiFrequencyBandpowers) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the pair of each CMB bandpower, and which of them each measured bandpower is, shape (n_measured, n).

    Bandpowers are those of each pair's longest spectrum; others must have bins of theirs.

    Raises
    ------
    LikelihoodError
        If spectra of a pair are binned otherwise.
    """
    middles = [centres(block.window.numpy()) for block in like.blocks]
    pairs: list[str] = []
    columns: list[np.ndarray] = [np.zeros(0)] * len(like.blocks)
    for pair in dict.fromkeys(block.pair for block in like.blocks):
        mine = [i for i, block in enumerate(like.blocks) if block.pair == pair]
        longest = max(mine, key=lambda i: len(middles[i]))
        bins = middles[longest]
        width = np.diff(bins).min() if len(bins) > 1 else bins[0]
        for i in mine:
            nearest = np.abs(bins[:, None] - middles[i]).argmin(0)
            far = np.abs(bins[nearest] - middles[i]) > 0.25 * width
            if far.any() or len(set(nearest)) < len(nearest):
                raise LikelihoodError(
                    f"{like.info.name}: {like.blocks[i].name} is binned otherwise than {like.blocks[longest].name} (around "
                    f"l = {middles[i][far.argmax()]:.0f}); one set of CMB bandpowers needs one binning of each pair"
                )
            columns[i] = len(pairs) + nearest
        pairs += [pair] * len(bins)
    seen = np.concatenate(columns).astype(int)
    matrix = np.zeros((len(seen), len(pairs)))
    matrix[np.arange(len(seen)), seen] = 1.0
    return tuple(pairs), matrix


class _Nuisance:
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
            null @ vectors / np.sqrt(values) if len(gauged) else np.zeros((0, 0))
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


def _refuse_order(like: MultiFrequencyBandpowers) -> None:
    """Refuse what does not act as windows on the CMB, then foregrounds, then calibrations."""
    steps = like.model.steps
    if any(isinstance(s, AddBinned) for s in steps):
        raise LikelihoodError(f"{like.info.name}: lensing bandpowers have no foregrounds to marginalise")
    first = next((i for i, s in enumerate(steps) if isinstance(s, Add)), len(steps))
    for kind, late in ((Derivative, True), (Rescale, False)):
        wrong = [s for s in (steps[first:] if late else steps[:first]) if isinstance(s, kind)]
        if wrong and first < len(steps):
            raise LikelihoodError(
                f"{like.info.name}: {type(wrong[0]).__name__} acts {'after' if late else 'before'} a foreground; expected what moves "
                "multipoles, then foregrounds, then calibrations"
            )


def compress(like: MultiFrequencyBandpowers, fiducial: Spectra, hold: Sequence[str] = ()) -> Lite:
    """Return the CMB-only bandpowers of a multi-frequency data set.

    Parameters
    ----------
    like : MultiFrequencyBandpowers
        All nuisance parameters with Gaussian priors.
    fiducial : Spectra
        A batch of one: where the derivative by super-sample lensing is taken.
    hold : sequence of str, optional
        One calibration of T and one of E that stay at 1, as Balkenhol 2024 holds those at 150 GHz; by default the gauge in
        which the calibrations that are left do not correlate with those that are marginalised.

    Raises
    ------
    LikelihoodError
        If the data set's spectra have no common bins, its steps another order, a prior is not Gaussian, or Newton's method
        does not converge.
    """
    _refuse_order(like)
    fiducial.require(like.pairs, like.lmax)
    pairs, matrix = design(like)
    nuisance = _Nuisance(like, hold)
    precision = torch.linalg.inv(like.covariance)
    p = torch.from_numpy(matrix)
    inverse = torch.linalg.inv(p.T @ precision @ p)
    weights = inverse @ p.T @ precision
    sigma = inverse.diagonal().sqrt()
    mean, basis = torch.from_numpy(nuisance.mean), torch.from_numpy(nuisance.basis)
    own = {like.outside(n): n for n in like.model.parameters}
    n = len(pairs)

    def log_posterior(theta: torch.Tensor) -> torch.Tensor:  # (batch, n + n_nuisance) -> (batch,)
        x, u = theta[:, :n] * sigma, theta[:, n:]
        values = {own[k]: column for k, column in zip(nuisance.names, (mean + u @ basis.T).T, strict=True)}
        model = _bandpowers(like, x @ p.T, values)
        return like.log_prob_of_bandpowers(model.T) - 0.5 * u.square().sum(1)

    start = torch.zeros(n + basis.shape[1], dtype=torch.float64)
    at_prior = {own[k]: m.reshape(1) for k, m in zip(nuisance.names, mean, strict=True)}
    zero = _bandpowers(like, like.data.new_zeros(1, len(like.data)), at_prior)[0]
    start[:n] = weights @ (like.data - zero) / sigma
    best, hessian, steps = _newton(log_posterior, start, like.info.name)
    covariance = torch.linalg.inv(-hessian)
    spec = sigma[:, None] * covariance[:n, :n] * sigma
    errors = (basis @ covariance[n:, n:] @ basis.T).diagonal().sqrt()
    found = mean + basis @ best[n:]
    for name, variance in nuisance.variance.items():
        shift = weights @ _derivative(like, fiducial, own[name], at_prior)
        spec = spec + variance * shift[:, None] * shift
    return Lite(
        pairs,
        (best[:n] * sigma).numpy(),
        ((spec + spec.T) / 2).numpy(),
        _windows(like, pairs, weights.numpy()),
        nuisance.calibrations,
        nuisance.calibration_covariance,
        {
            k: (float(v), float(e))
            for k, v, e in zip(nuisance.names, found, errors, strict=True)
            if k not in nuisance.moved
        },
        steps,
    )


def _bandpowers(
    like: MultiFrequencyBandpowers, cmb: torch.Tensor, values: Mapping[str, torch.Tensor]
) -> torch.Tensor:  # (batch, n_measured) -> (batch, n_measured)
    """Return the model of the data from bandpowers of the CMB in each spectrum."""
    model = like.model
    factors = model.factors(values)
    chain = tuple((i, 0) for i, step in enumerate(model.steps) if isinstance(step, Rescale))
    scale = model.of_rows(chain, factors)
    total = cmb if scale is None else cmb * scale
    added = model.foregrounds(values, factors)
    return total if added is None else total + added


def _derivative(
    like: MultiFrequencyBandpowers, fiducial: Spectra, name: str, at: Mapping[str, torch.Tensor]
) -> torch.Tensor:  # shape: (n_measured,)
    """Return the change of the CMB's bandpowers with a parameter that moves multipoles, calibrations of one."""
    bare = {k: torch.ones_like(v) if k in _scale_names(like) else v for k, v in at.items()}
    ends = [like.model.bandpowers(fiducial, bare | {name: bare[name] + h}) for h in (-1e-4, 1e-4)]
    return ((ends[1] - ends[0]) / 2e-4)[0]


def _scale_names(like: MultiFrequencyBandpowers) -> set[str]:
    return {n for s in like.model.steps if isinstance(s, Rescale) for n in s.parameters}


def _windows(
    like: MultiFrequencyBandpowers, pairs: Sequence[str], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the windows of the CMB's bandpowers: the least-variance combination of those of the spectra of the pair."""
    out: dict[str, np.ndarray] = {}
    for pair in dict.fromkeys(pairs):
        rows = [i for i, name in enumerate(pairs) if name == pair]
        total = np.zeros((len(rows), like.lmax + 1))
        for block, where in zip(like.blocks, like.sections.values(), strict=True):
            if block.pair == pair:
                window = block.window.numpy()
                total[:, : window.shape[1]] += weights[rows][:, where] @ window
        out[pair] = total
    return out


def _newton(function, start: torch.Tensor, where: str) -> tuple[torch.Tensor, torch.Tensor, int]:  # type: ignore[no-untyped-def]
    """Return the maximum of a function of batches, the Hessian there, and how many steps it took."""
    n = len(start)
    moves = torch.cat([torch.zeros(1, n), _STEP * torch.eye(n), -_STEP * torch.eye(n)]).to(start.dtype)
    point = start
    for step in range(1, 31):
        theta = (point + moves).requires_grad_(True)
        (gradient,) = torch.autograd.grad(function(theta).sum(), theta)
        hessian = (gradient[1 : n + 1] - gradient[n + 1 :]) / (2 * _STEP)
        hessian = (hessian + hessian.T) / 2
        if not bool(torch.isfinite(hessian).all()):
            break
        # where the curvature is not that of a maximum yet, its size is taken
        values, vectors = torch.linalg.eigh(-hessian)
        move = vectors @ ((vectors.T @ gradient[0]) / values.abs().clamp(min=1e-3))
        largest = float(move.abs().max())
        if largest < _CONVERGED and float(values[0]) > 0:
            return point, hessian, step
        point = point + move * min(1.0, 3.0 / largest)
    raise LikelihoodError(
        f"{where}: no maximum of the posterior of CMB bandpowers and foregrounds was found; look at the priors"
    )
