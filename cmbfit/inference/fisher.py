"""Fisher forecasts: errors that data would give, from the curvature of their likelihood at a model.

Theories enter by their slopes alone, dC_l / d theta by differences, so that a Boltzmann code and an emulator are treated
alike. ln L of the spectra C_l + sum_i (theta_i - theta_i^0) dC_l / d theta_i is differentiated exactly, twice. Where data are
their own mean (mock data without a seed) minus this matrix is the Fisher matrix, F_ij = -<d^2 ln L / d theta_i d theta_j>
(Tegmark, Taylor & Heavens 1997, astro-ph/9603021); normal priors of the fit are part of it, flat ones are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError, ParameterError
from cmbfit.likelihood.posterior import Posterior
from cmbfit.theory.base import Theory
from cmbfit.theory.spectra import Spectra

STEPS = {"ombh2": 1e-4, "omch2": 1e-3, "theta_mc": 3e-4, "tau": 4e-3, "logA": 8e-3, "ns": 4e-3, "mnu": 0.02,
         "nnu": 0.1, "omk": 2e-3, "w": 0.03, "wa": 0.1, "YHe": 5e-3, "nrun": 4e-3, "Alens": 0.03, "r": 0.01, "nt": 0.05,
         "beta": 0.05}  # fmt: skip
"""Steps of differences: about half of Planck's error, where spectra bend by less than 1% and a Boltzmann code's jitter is small."""

_OF_THE_RANGE = 1e-3
"""Step of other parameters, in the range in which the theory is valid."""


class LinearTheory(OnDevice):
    """Spectra to first order around a point.

    Parameters
    ----------
    theory : Theory
    point : mapping of str to float
        Every parameter of the theory.
    vary : sequence of str
        Those that are kept as parameters.
    """

    def __init__(self, theory: Theory, point: Mapping[str, float], vary: Sequence[str]) -> None:
        self.parameters = tuple(vary)
        self.box: dict[str, tuple[float, float]] = {}
        self.lmax = theory.lmax
        self.settings = {**theory.settings, "linear": dict(point)}
        rows = _rows(theory, point, vary)
        with torch.no_grad():
            spectra = theory.spectra(torch.tensor([x for x, _ in rows], dtype=torch.float64))
        weights = torch.tensor(
            np.array([w for _, w in rows]), dtype=torch.float64
        )  # shape: (rows, parameters)
        self._point = torch.tensor([point[p] for p in vary], dtype=torch.float64)
        self._mean = {pair: x[0] for pair, x in spectra.dl.items()}
        self._slope = {pair: weights.T @ x for pair, x in spectra.dl.items()}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return the theory's pairs."""
        off = theta - self._point
        return Spectra(
            {p: self._mean[p] + off @ self._slope[p] for p in self._mean},
            {p: theta[:, i] for i, p in enumerate(self.parameters)},
        )


def _rows(
    theory: Theory, point: Mapping[str, float], vary: Sequence[str]
) -> list[tuple[list[float], np.ndarray]]:
    """Return points at which the theory is asked, the first the centre, and each one's weight in each slope."""
    centre = [float(point[p]) for p in theory.parameters]
    rows = [(centre, np.zeros(len(vary)))]
    for k, name in enumerate(vary):
        i, (low, high) = theory.parameters.index(name), theory.box[name]
        step = STEPS.get(name, _OF_THE_RANGE * (high - low))
        inside = [s for s in (-1, 1) if low <= centre[i] + s * step <= high]
        if len(inside) == 2:
            stencil = {-1: -0.5, 1: 0.5}
        elif inside and low <= centre[i] + 2 * inside[0] * step <= high:  # at an edge, such as r = 0
            stencil = {inside[0]: 2 * inside[0], 2 * inside[0]: -0.5 * inside[0]}
            rows[0][1][k] = -1.5 * inside[0] / step
        else:
            raise ParameterError(
                f"{name} = {centre[i]:g}: no step of {step:g} within [{low:g}, {high:g}], where the theory is valid"
            )
        for s, weight in stencil.items():
            moved, weights = list(centre), np.zeros(len(vary))
            moved[i] += s * step
            weights[k] = weight / step
            rows.append((moved, weights))
    return rows


@dataclass(frozen=True)
class Forecast:
    """What data would say of parameters.

    Attributes
    ----------
    parameters : tuple of str
    point : ndarray, shape (n,)
        The model.
    fisher : ndarray, shape (n, n)
        Curvature of minus ln (L prior), normal priors included.
    shift : ndarray, shape (n,)
        How far, to first order, the best fit lies from the model: zero for mock data made of it; not for real data, nor
        where the truth of mock data came from another code.
    """

    parameters: tuple[str, ...]
    point: np.ndarray
    fisher: np.ndarray
    shift: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Of the parameters, shape (n, n)."""
        scale = np.diag(self.fisher) ** -0.5
        return np.asarray(np.linalg.inv(self.fisher * np.outer(scale, scale)) * np.outer(scale, scale))

    @property
    def sigma(self) -> np.ndarray:
        """Errors, all other parameters marginalised, shape (n,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def conditional(self) -> np.ndarray:
        """Errors with all other parameters known, shape (n,)."""
        return np.diag(self.fisher) ** -0.5

    def record(self) -> dict[str, Any]:
        """Return it as JSON."""
        columns = zip(
            self.parameters, self.point, self.sigma, self.conditional, self.shift / self.sigma, strict=True
        )
        return {
            "parameters": {
                p: {
                    "model": float(x),
                    "sigma": float(s),
                    "sigma_others_known": float(c),
                    "shift_sigma": float(d),
                }
                for p, x, s, c, d in columns
            },
            "covariance": self.covariance.tolist(),
        }


def forecast(posterior: Posterior, point: Mapping[str, float], fixed: Sequence[str] = ()) -> Forecast:
    """Return the errors that a posterior's data give at a model.

    Parameters
    ----------
    posterior : Posterior
    point : mapping of str to float
        Every parameter, nuisances included.
    fixed : sequence of str
        Parameters of the theory that are known.

    Raises
    ------
    ParameterError
        If `point` lacks a parameter, or a step around it leaves the theory's range.
    LikelihoodError
        If the model has zero probability, or the data do not constrain all parameters.
    """
    theory = posterior.theory
    if missing := [p for p in posterior.parameters if p not in point]:
        raise ParameterError(f"forecast: no value of {', '.join(missing)}: give each with --set NAME=VALUE")
    if unknown := [p for p in fixed if p not in theory.parameters]:
        raise ParameterError(
            f"forecast: {unknown[0]} is no parameter of the theory: {', '.join(theory.parameters)}"
        )
    vary = [p for p in theory.parameters if p not in fixed]
    linear = LinearTheory(theory, point, vary)
    # marginals of a joint prior would replace it
    joint = {p for prior in posterior.joint_priors for p in prior.names}
    priors = {p: x for p, x in posterior.priors.items() if p not in fixed and p not in joint}
    flat = Posterior(linear, posterior.likelihoods, priors)
    names = flat.parameters
    centre = torch.tensor([point[p] for p in names], dtype=torch.float64)
    scale = torch.tensor([STEPS.get(p, _width(posterior, p)) for p in names], dtype=torch.float64)

    def log_prob(x: torch.Tensor) -> torch.Tensor:
        return flat.log_prob((centre + scale * x)[None])[0]

    origin = torch.zeros(len(names), dtype=torch.float64)
    if not bool(torch.isfinite(log_prob(origin))):
        raise LikelihoodError(
            "forecast: the model has zero probability: it lies outside a prior, or spectra are not positive"
        )
    gradient = torch.autograd.functional.jacobian(log_prob, origin).numpy()
    curvature = -torch.autograd.functional.hessian(log_prob, origin).numpy()
    size = np.sqrt(np.abs(np.diag(curvature)) + 1e-300)
    values, vectors = np.linalg.eigh(curvature / np.outer(size, size))
    if not values[0] > 1e-12:
        worst = names[int(np.abs(vectors[:, 0]).argmax())]
        raise LikelihoodError(
            f"forecast: these data do not constrain {worst}, or not apart from others: fix it (--fix {worst}), or give it a normal prior"
        )
    width = scale.numpy()
    return Forecast(
        names,
        centre.numpy(),
        curvature / np.outer(width, width),
        width * np.linalg.solve(curvature, gradient),
    )


def _width(posterior: Posterior, name: str) -> float:
    low, high = posterior.priors[name].support
    width = getattr(posterior.priors[name], "std", None) or _OF_THE_RANGE * (high - low)
    return float(width) if np.isfinite(width) else 1.0
