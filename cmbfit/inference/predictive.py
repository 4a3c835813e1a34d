r"""Posterior predictive checks: whether the model, with its posterior, would have given such data.

For draws theta of the posterior, bandpowers are replicated, D_rep ~ N(m(theta), C), and
p = P(chi2(D_rep, theta) > chi2(D, theta)) over draws and replications (Gelman, Meng & Stern 1996), for a data set
as a whole, for each spectrum, and for one spectrum given another (Planck 2018 V, section 3.3),

    m_y|x = m_y + C_yx C_xx^-1 (x - m_x),     C_y|x = C_yy - C_yx C_xx^-1 C_xy.

The data are used twice, for the posterior and for the check, so that p is nearer to 1/2 than a uniform number: a p
below 0.01 or above 0.99 is a finding, a p between them no proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.posterior import Posterior

FLAG = 0.01
"""p outside [FLAG, 1 - FLAG] is flagged."""


@dataclass(frozen=True)
class PredictiveTest:
    """A posterior predictive check.

    Attributes
    ----------
    data_set : str
    part : str
        ``all``, a pair, or ``te+ee | tt``.
    n_data : int
    observed, replicated : numpy.ndarray, shape (draws,)
        chi2 of data and replica for each draw.
    """

    data_set: str
    part: str
    n_data: int
    observed: np.ndarray
    replicated: np.ndarray

    @property
    def p_value(self) -> float:
        """Share of draws whose replica is further from the model than the data."""
        return float((self.replicated > self.observed).mean())

    @property
    def flagged(self) -> bool:
        """Whether p lies outside [0.01, 0.99]."""
        return not FLAG <= self.p_value <= 1 - FLAG

    def record(self) -> dict[str, Any]:
        """Return the check in numbers, JSON-able."""
        return {
            "data_set": self.data_set,
            "part": self.part,
            "n_data": self.n_data,
            "chi2_mean": float(self.observed.mean()),
            "chi2_std": float(self.observed.std()),
            "p_value": self.p_value,
            "draws": len(self.observed),
            "flagged": self.flagged,
        }


@dataclass(frozen=True)
class Replicas:
    """Replicated bandpowers of one data set.

    Attributes
    ----------
    likelihood : GaussianBandpowers or MultiFrequencyBandpowers
    model, replica : numpy.ndarray, shape (draws, n_bins)
        In the units of the data.
    """

    likelihood: GaussianBandpowers | MultiFrequencyBandpowers
    model: np.ndarray
    replica: np.ndarray

    @property
    def data(self) -> np.ndarray:
        """The measured bandpowers, shape (n_bins,)."""
        return self.likelihood.data.cpu().numpy()

    @property
    def sections(self) -> dict[str, slice]:
        """Rows of each block of bandpowers."""
        return self.likelihood.sections

    def bands(self) -> np.ndarray:  # shape: (5, n_bins)
        """Return the 2.5, 16, 50, 84 and 97.5% quantiles of the replicas, of each bandpower."""
        return np.percentile(self.replica, [2.5, 16, 50, 84, 97.5], axis=0)


def replicate(
    posterior: Posterior,
    points: np.ndarray,  # shape: (draws, n_parameters)
    rng: np.random.Generator,
) -> list[Replicas]:
    """Replicate the bandpowers of every Gaussian data set, one replica a draw.

    Data sets of other kinds (SimAll's table is of the observed sky alone) are left out.

    Raises
    ------
    LikelihoodError
        If no data set is Gaussian.
    """
    kinds = GaussianBandpowers | MultiFrequencyBandpowers
    chosen = [like for like in posterior.likelihoods if isinstance(like, kinds)]
    if not chosen:
        raise LikelihoodError(
            "posterior predictive checks need a data set of Gaussian bandpowers; there is none"
        )
    models: dict[str, list[np.ndarray]] = {like.info.name: [] for like in chosen}
    names = posterior.parameters
    for rows in np.array_split(points, max(1, len(points) // 100)):
        theta = torch.from_numpy(np.ascontiguousarray(rows)).to(posterior.device)
        with torch.no_grad():
            spectra = posterior.theory.spectra(theta[:, : len(posterior.theory.parameters)])
            for like in chosen:
                nuisance = {n: theta[:, names.index(n)] for n in like.info.nuisance}
                models[like.info.name].append(like.bandpowers(spectra, nuisance).cpu().numpy())
    out = []
    for like in chosen:
        model = np.concatenate(models[like.info.name])
        noise = rng.standard_normal(model.shape) @ np.linalg.cholesky(covariance_of(like)).T
        out.append(Replicas(like, model, model + noise))
    return out


def covariance_of(
    like: GaussianBandpowers | MultiFrequencyBandpowers,
) -> np.ndarray:  # shape: (n_bins, n_bins)
    """Return the bandpowers' covariance; at the data where it moves with the model."""
    factor = like.cholesky.cpu().numpy()
    return factor @ factor.T


def predictive_tests(replicas: Replicas) -> list[PredictiveTest]:
    """Return the checks of one data set: all of it, each pair, and polarisation given temperature."""
    covariance = covariance_of(replicas.likelihood)
    sections = replicas.sections
    everything = np.arange(len(covariance))
    rows: Mapping[str, np.ndarray] = {"all": everything} | (
        {pair: everything[s] for pair, s in sections.items()} if len(sections) > 1 else {}
    )
    residual, replica = replicas.data - replicas.model, replicas.replica - replicas.model
    name = replicas.likelihood.info.name
    out = [
        PredictiveTest(
            name, part, len(i), _chi2(residual[:, i], c := covariance[np.ix_(i, i)]), _chi2(replica[:, i], c)
        )
        for part, i in rows.items()
    ]
    if "tt" in sections and len(sections) > 1:
        given = everything[sections["tt"]]
        wanted = np.setdiff1d(everything, given)
        gain = np.linalg.solve(covariance[np.ix_(given, given)], covariance[np.ix_(given, wanted)])
        c = covariance[np.ix_(wanted, wanted)] - covariance[np.ix_(wanted, given)] @ gain
        part = "+".join(pair for pair in sections if pair != "tt") + " | tt"
        observed, replicated = (_chi2(r[:, wanted] - r[:, given] @ gain, c) for r in (residual, replica))
        out.append(PredictiveTest(name, part, len(wanted), observed, replicated))
    return out


def _chi2(residual: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    white = np.linalg.solve(np.linalg.cholesky(covariance), residual.T)
    return np.square(white).sum(0)
