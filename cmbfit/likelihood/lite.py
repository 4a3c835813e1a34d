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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.cuts import centres
from cmbfit.likelihood.lite_nuisance import StandardNuisance
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.steps import Add, AddBinned, Derivative, Rescale
from cmbfit.theory.spectra import Spectra

_STEP = 0.02
"""Of differences of gradients, in standard deviations: errors of 1e-4 of the Hessian."""

_CONVERGED = 1e-3
"""Largest Newton step that is left, in standard deviations."""


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
    fiducial : numpy.ndarray, shape (n,)
        Bandpowers of the fiducial model.
    calibrations : tuple of str
        Of :data:`~cmbfit.likelihood.lite_nuisance.CALIBRATIONS`, those that are left to vary around 1.
    calibration_covariance : numpy.ndarray, shape (n_calibrations, n_calibrations)
    nuisance : dict of str to (float, float)
        Mean and standard deviation of what was marginalised.
    evaluations : int
        Gradients of single points on the way to the maximum.
    """

    pairs: tuple[str, ...]
    data: np.ndarray
    covariance: np.ndarray
    windows: dict[str, np.ndarray]
    fiducial: np.ndarray
    calibrations: tuple[str, ...]
    calibration_covariance: np.ndarray
    nuisance: dict[str, tuple[float, float]]
    evaluations: int


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


class Reconstruction:
    """The posterior of CMB bandpowers, foregrounds and relative calibrations, in standardised coordinates.

    Parameters
    ----------
    like : MultiFrequencyBandpowers
        All nuisance parameters with Gaussian priors.
    hold : sequence of str, optional
        As for :func:`compress`.

    Attributes
    ----------
    pairs : tuple of str
        Of each CMB bandpower.
    sigma : torch.Tensor, shape (n,)
        Units of the CMB bandpowers [uK^2].
    start : torch.Tensor, shape (n + n_nuisance,)
        The least-variance combination of the spectra, foregrounds at the means of their priors.
    """

    def __init__(self, like: MultiFrequencyBandpowers, hold: Sequence[str] = ()) -> None:
        _refuse_order(like)
        self.like = like
        self.pairs, matrix = design(like)
        self.nuisance = StandardNuisance(like, hold)
        self.matrix = torch.from_numpy(matrix)
        precision = torch.linalg.inv(like.covariance)
        inverse = torch.linalg.inv(self.matrix.T @ precision @ self.matrix)
        self.weights = inverse @ self.matrix.T @ precision
        self.sigma = inverse.diagonal().sqrt()
        self.mean, self.basis = torch.from_numpy(self.nuisance.mean), torch.from_numpy(self.nuisance.basis)
        self.own = {like.outside(n): n for n in like.model.parameters}
        self.at_prior = {
            self.own[k]: m.reshape(1) for k, m in zip(self.nuisance.names, self.mean, strict=True)
        }
        nothing = _bandpowers(like, like.data.new_zeros(1, len(like.data)), self.at_prior)[0]
        still = torch.zeros(self.basis.shape[1], dtype=torch.float64)
        self.start = torch.cat([self.weights @ (like.data - nothing) / self.sigma, still])

    def log_prob(self, theta: torch.Tensor) -> torch.Tensor:  # (batch, n + n_nuisance) -> (batch,)
        """Return ln L plus the ln prior, less a constant."""
        n = len(self.pairs)
        x, u = theta[:, :n] * self.sigma, theta[:, n:]
        columns = (self.mean + u @ self.basis.T).T
        values = {self.own[k]: c for k, c in zip(self.nuisance.names, columns, strict=True)}
        model = _bandpowers(self.like, x @ self.matrix.T, values)
        return self.like.log_prob_of_bandpowers(model.T) - 0.5 * u.square().sum(1)


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
        If the data set's spectra have no common bins, its steps another order, a prior is not Gaussian, or no maximum is
        found.
    """
    fiducial.require(like.pairs, like.lmax)
    posterior = Reconstruction(like, hold)
    nuisance, sigma, basis, n = posterior.nuisance, posterior.sigma, posterior.basis, len(posterior.pairs)
    best, hessian, evaluations = _maximum(posterior.log_prob, posterior.start, like.info.name)
    covariance = torch.linalg.inv(-hessian)
    spec = sigma[:, None] * covariance[:n, :n] * sigma
    errors = (basis @ covariance[n:, n:] @ basis.T).diagonal().sqrt()
    found = posterior.mean + basis @ best[n:]
    for name, variance in nuisance.variance.items():
        shift = posterior.weights @ _derivative(like, fiducial, posterior.own[name], posterior.at_prior)
        spec = spec + variance * shift[:, None] * shift
    windows = _windows(like, posterior.pairs, posterior.weights.numpy())
    return Lite(
        posterior.pairs,
        (best[:n] * sigma).numpy(),
        ((spec + spec.T) / 2).numpy(),
        windows,
        np.concatenate([w @ fiducial.dl[p][0, : w.shape[1]].numpy() for p, w in windows.items()]),
        nuisance.calibrations,
        nuisance.calibration_covariance,
        {
            k: (float(v), float(e))
            for k, v, e in zip(nuisance.names, found, errors, strict=True)
            if k not in nuisance.moved
        },
        evaluations,
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


def _maximum(
    function: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, where: str
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return the maximum of a function of batches, the Hessian there, and in how many gradients of one point it was found.

    BFGS from the curvature at the start, Newton steps at the end.
    """
    n, evaluations = len(start), 0
    moves = torch.cat([torch.zeros(1, n), _STEP * torch.eye(n), -_STEP * torch.eye(n)]).to(start.dtype)

    def gradient_of(theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        theta = theta.requires_grad_(True)
        value = function(theta)
        return value.detach(), torch.autograd.grad(value.sum(), theta)[0]

    def curvature(point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        gradient = gradient_of(point + moves)[1]
        hessian = (gradient[1 : n + 1] - gradient[n + 1 :]) / (2 * _STEP)
        hessian = (hessian + hessian.T) / 2
        if not bool(torch.isfinite(hessian).all()):
            raise LikelihoodError(f"{where}: the posterior of CMB bandpowers and foregrounds is not finite")
        return (gradient[0], hessian, *torch.linalg.eigh(-hessian))

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal evaluations
        evaluations += 1
        value, gradient = gradient_of(torch.from_numpy(x)[None])
        # outside of what the foregrounds allow there is no number
        return -float(value.nan_to_num(nan=-1e30)), -gradient[0].nan_to_num().numpy()

    point = start
    gradient, hessian, values, vectors = curvature(point)
    for _ in range(4):
        # where the curvature is not that of a maximum, its size is taken
        inverse = (vectors / values.abs().clamp(min=1e-2)) @ vectors.T
        move = inverse @ gradient
        if float(move.abs().max()) < _CONVERGED and float(values[0]) > 0:
            return point, hessian, evaluations
        found = optimize.minimize(
            loss,
            point.numpy(),
            jac=True,
            method="BFGS",
            options={"hess_inv0": ((inverse + inverse.T) / 2).numpy(), "gtol": 1e-3, "maxiter": 200},
        )
        point = torch.from_numpy(found.x)
        gradient, hessian, values, vectors = curvature(point)
        if float(values[0]) > 0:
            point = point + vectors @ ((vectors.T @ gradient) / values)
            gradient, hessian, values, vectors = curvature(point)
    raise LikelihoodError(
        f"{where}: no maximum of the posterior of CMB bandpowers and foregrounds was found; look at the priors"
    )
