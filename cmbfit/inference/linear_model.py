"""Gaussian data around a best fit as one whitened linear model: r = J x + F y + n with n of unit variance.

x are shifts of the posterior's parameters, y the amplitudes of what a larger model adds. Gaussian priors and
Gaussian measurements of a parameter are rows like any datum, so that simulated data carry their scatter too.
In this form a fit is a projection, and thousands of simulated skies are fitted by one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.bandpower_model import calibrated
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Gaussian, Uniform
from cmbfit.likelihood.tau_prior import ParameterGaussian
from cmbfit.theory.lensing import Lensing
from cmbfit.theory.lensing_response import LensingResponse
from cmbfit.theory.transfer.operator import TransferOperator

LENSING_MARGIN = 300
"""Multipoles of the transfer operator that lens into the data: 1e-3 of the imprint on the last ones comes from beyond."""


@dataclass(frozen=True)
class LinearModel(OnDevice):
    """A posterior near its best fit, in units of the data's errors.

    Attributes
    ----------
    residual : torch.Tensor, shape (n,)
        Whitened data minus model: bandpowers first, then measured parameters and priors.
    jacobian : torch.Tensor, shape (n, n_parameters)
        Whitened derivatives of the model.
    parameters : tuple of str
    point : mapping of str to float
        Where it was expanded.
    bandpowers : tuple of GaussianBandpowers
        The data sets behind the first rows.
    """

    residual: torch.Tensor
    jacobian: torch.Tensor
    parameters: tuple[str, ...]
    point: Mapping[str, float]
    bandpowers: tuple[GaussianBandpowers, ...]

    @property
    def n_bandpowers(self) -> int:
        """Rows that are bandpowers."""
        return sum(len(like.data) for like in self.bandpowers)


def linearise(posterior: Posterior, point: Mapping[str, float]) -> LinearModel:
    """Expand a posterior of Gaussian data at `point`, its best fit; the model is on the posterior's device.

    Flat priors add no rows: the fits are not bounded by them.

    Raises
    ------
    LikelihoodError
        If a data set or a prior is not Gaussian.
    """
    names = posterior.parameters
    here: dict[str, Any] = {"dtype": torch.float64, "device": posterior.device}
    theta = torch.tensor([point[p] for p in names], **here)
    bandpowers = tuple(like for like in posterior.likelihoods if isinstance(like, GaussianBandpowers))
    measured = [like for like in posterior.likelihoods if isinstance(like, ParameterGaussian)]
    for like in posterior.likelihoods:
        _require_gaussian(like, names)
    whitened = [like.whitened() for like in bandpowers]
    rows = [(names.index(m.parameter), m.mean, m.std) for m in measured]
    joint = {name for prior in posterior.joint_priors for name in prior.names}
    for i, p in enumerate(names):
        prior = posterior.priors[p]
        if isinstance(prior, Gaussian) and p not in joint:
            rows.append((i, prior.mean, prior.std))
        elif not isinstance(prior, Gaussian | Uniform):
            raise LikelihoodError(f"linear model: the prior of {p} is neither flat nor Gaussian")

    def residual(x: torch.Tensor) -> torch.Tensor:  # shape: (n_parameters,) -> (n,)
        n = len(posterior.theory.parameters)
        spectra = posterior.theory.spectra(x[None, :n])
        nuisance = {p: x[n + i : n + i + 1] for i, p in enumerate(posterior.nuisances)}
        parts = []
        for like, (windows, target) in zip(bandpowers, whitened, strict=True):
            model = torch.zeros_like(target)
            for (pair, powers), window in windows.items():
                block = window @ spectra.dl[pair][0, : window.shape[1]]
                model = model + calibrated(block, powers, nuisance)
            for name, template in like.whitened_templates().items():
                model = model + nuisance[name] * template
            parts.append(target - model)
        parts += [((mean - x[i]) / std)[None] for i, mean, std in rows]
        for prior in posterior.joint_priors:
            index = [names.index(p) for p in prior.names]
            cholesky = torch.linalg.cholesky(torch.tensor(prior.covariance, **here))
            shift = torch.tensor(prior.mean, **here) - x[index]
            parts.append(torch.linalg.solve_triangular(cholesky, shift[:, None], upper=False)[:, 0])
        return torch.cat(parts)

    columns = [
        torch.autograd.functional.jvp(residual, theta, unit)[1] for unit in torch.eye(len(names), **here)
    ]
    with torch.no_grad():
        left = residual(theta)
    return LinearModel(left, -torch.stack(columns, 1), names, dict(point), bandpowers)


def _require_gaussian(like: Likelihood, parameters: tuple[str, ...]) -> None:
    if isinstance(like, GaussianBandpowers):
        return
    if isinstance(like, ParameterGaussian) and like.parameter in parameters:
        return
    raise LikelihoodError(
        f"linear model: expected Gaussian bandpowers or a measured parameter of the fit, found {like.info.name}; "
        "take tau_lowe in place of low-l EE"
    )


def power_response(
    model: LinearModel,
    operator: TransferOperator,
    power: torch.Tensor,  # shape: (n_k,)
) -> torch.Tensor:  # shape: (n, n_k)
    """Return the whitened data's derivative with respect to P(k) at the operator's wavenumbers.

    Unlensed spectra are linear in P; lensing, whose potential follows P as well, is linearised at `power`.
    Rows of priors are zero. The transfer functions are those of the operator's cosmology.

    Parameters
    ----------
    model : LinearModel
    operator : TransferOperator
        Every multipole, :data:`LENSING_MARGIN` beyond the data at least.
    power : torch.Tensor, shape (n_k,)
        P_R of the best fit.

    Raises
    ------
    LikelihoodError
        If the operator stops too early.
    """
    # windows of data that were cut end in zeros
    lmax = max(int(block.window.any(0).nonzero()[-1]) for like in model.bandpowers for block in like.blocks)
    top = lmax + LENSING_MARGIN
    if operator.lmax < top:
        raise LikelihoodError(
            f"response to P(k): the data reach l = {lmax}, which takes a transfer operator to {top}, found "
            f"{operator.lmax}; cut the data or compute a longer one"
        )
    fiducial = {p: x[0, : top + 1] for p, x in operator.unlensed(power[None]).items()}
    here: dict[str, Any] = {"dtype": torch.float64, "device": model.residual.device}
    zero = {p: torch.zeros(len(model.residual), top + 1, requires_grad=True, **here) for p in fiducial}
    lensed = LensingResponse(Lensing(top, lmax).to(model.residual.device), fiducial)(zero)
    total, start = torch.zeros((), **here), 0
    for like in model.bandpowers:
        nuisance = {p: torch.tensor([model.point[p]], **here) for p in like.info.nuisance}
        rows = slice(start, start + len(like.data))
        start = rows.stop
        for (pair, powers), window in like.whitened()[0].items():
            n = min(window.shape[1], lmax + 1)
            weight = calibrated(window[:, :n], powers, nuisance)
            total = total + (weight * lensed[pair][rows, :n]).sum()
    # linear: the derivative of all rows' sum at zero is each row's own response
    gradients = torch.autograd.grad(total, list(zero.values()))
    matrices = operator.matrices
    return sum(
        (g[:, 2:] @ matrices[p][: top - 1].double() for p, g in zip(zero, gradients, strict=True)),
        torch.zeros(len(model.residual), len(power), **here),
    )
