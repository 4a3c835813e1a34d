"""Comparing models: information criteria, Savage-Dickey density ratios, look-elsewhere corrections.

AIC (Akaike 1974) and BIC (Schwarz 1978) need best fits only; the Bayes factor of nested models follows
from the posterior of the larger one at the point where it becomes the smaller one (Dickey 1971; Trotta
2007, astro-ph/0504022). All of them depend on choices, priors above all: report the choices with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cmbfit.errors import ComparisonError, ParameterError

JEFFREYS = ((1.0, "inconclusive"), (2.5, "weak"), (5.0, "moderate"), (math.inf, "strong"))
"""Upper bounds of |ln B| and what they are called (Trotta 2008, arXiv:0803.4089)."""


def _require_count(n_data: int, n_parameters: int) -> None:
    if n_parameters < 0 or n_data <= n_parameters + 1:
        raise ParameterError(
            f"information criteria: expected more data than parameters + 1, found {n_data} data, {n_parameters} parameters"
        )


def aic(chi2: float, n_parameters: int, n_data: int | None = None) -> float:
    """Return chi2 + 2p, with the small-sample term 2p(p+1)/(n-p-1) when the number of data is given."""
    value = chi2 + 2 * n_parameters
    if n_data is not None:
        _require_count(n_data, n_parameters)
        value += 2 * n_parameters * (n_parameters + 1) / (n_data - n_parameters - 1)
    return value


def bic(chi2: float, n_parameters: int, n_data: int) -> float:
    """Return chi2 + p ln n, n the number of bandpowers or data points."""
    _require_count(n_data, n_parameters)
    return chi2 + n_parameters * math.log(n_data)


@dataclass(frozen=True)
class Improvement:
    """A larger model against a smaller one; negative numbers speak for the larger one."""

    delta_chi2: float
    delta_aic: float
    delta_bic: float
    extra_parameters: int


def improvement(chi2_small: float, chi2_large: float, n_small: int, n_large: int, n_data: int) -> Improvement:
    """Return the differences (large - small) of chi2, AIC and BIC at the best fits."""
    return Improvement(
        delta_chi2=chi2_large - chi2_small,
        delta_aic=aic(chi2_large, n_large) - aic(chi2_small, n_small),
        delta_bic=bic(chi2_large, n_large, n_data) - bic(chi2_small, n_small, n_data),
        extra_parameters=n_large - n_small,
    )


def strength(ln_bayes_factor: float) -> str:
    """Return the name of |ln B| on the scale of Jeffreys (Trotta 2008).

    Raises
    ------
    ComparisonError
        If it is not a number.
    """
    if math.isnan(ln_bayes_factor):
        raise ComparisonError("ln B is not a number: a chain or an evidence went wrong")
    return next((name for bound, name in JEFFREYS if abs(ln_bayes_factor) < bound), JEFFREYS[-1][1])


@dataclass(frozen=True)
class SavageDickey:
    """A density ratio.

    Attributes
    ----------
    ln_b01 : float
        ln of p(theta_0 | data) / pi(theta_0): positive for the nested (smaller) model.
    error : float
        Statistical error; 0 where the posterior is given in closed form.
    prior_width, posterior_width : float
        Standard deviations, to be reported with it: a prior twice as wide adds ln 2.
    """

    ln_b01: float
    error: float
    prior_width: float
    posterior_width: float


def savage_dickey_gaussian(
    mean: float, sigma: float, low: float, high: float, point: float = 0.0
) -> SavageDickey:
    """Return the ratio for a Gaussian likelihood of the extra parameter under a flat prior on [low, high].

    The posterior is cut at the prior's edges and normalised on what is left, so a point *at* an edge
    (an amplitude A >= 0 at 0) is right as well.

    Raises
    ------
    ParameterError
        If the point is outside the prior, or sigma is not positive.
    """
    if not (low <= point <= high and low < high and sigma > 0):
        raise ParameterError(
            f"Savage-Dickey: expected low <= point <= high and sigma > 0, found {point} in [{low}, {high}], {sigma}"
        )
    from scipy import stats  # noqa: PLC0415 (a second)

    cut = stats.truncnorm((low - mean) / sigma, (high - mean) / sigma, mean, sigma)
    ln_ratio = float(cut.logpdf(point)) + math.log(high - low)
    return SavageDickey(ln_ratio, 0.0, (high - low) / math.sqrt(12), float(cut.std()))


def savage_dickey_samples(
    samples: np.ndarray,  # shape: (n,)
    low: float,
    high: float,
    point: float = 0.0,
    *,
    bandwidth: float | None = None,
    n_effective: float | None = None,
    log_prior: float | None = None,
) -> SavageDickey:
    """Return the ratio from posterior samples under a prior on [low, high].

    The density is a local-linear kernel estimate, unbiased in slope also at an edge of the prior (boundary
    kernel of Jones 1993), so one-sided parameters need no reflection. Where few samples lie within
    the kernel the error says so.

    Parameters
    ----------
    samples : numpy.ndarray, shape (n,)
    low, high : float
        The prior's edges.
    point : float
        theta_0.
    log_prior : float, optional
        ln of the marginal prior density at theta_0; default that of a flat one. A flat prior of which a theory's domain cuts
        more at some values than at others has no flat marginal (:func:`~cmbfit.likelihood.prior_mass.log_marginal_prior`).
    bandwidth : float, optional
        Of the Gaussian kernel; default 0.9 min(sigma, IQR/1.34) n^(-1/5) (Silverman 1986).
    n_effective : float, optional
        Independent samples among them, for the error; default all.

    Raises
    ------
    ParameterError
        If samples lie outside the prior, the point does, or fewer than ten samples support the density there.
    """
    x = np.asarray(samples, dtype=float).ravel()
    if not low <= point <= high or len(x) < 100 or x.min() < low or x.max() > high:
        raise ParameterError(
            f"Savage-Dickey: expected at least 100 samples and the point {point} within the prior [{low}, {high}], found "
            f"{len(x)} in [{x.min() if len(x) else math.nan:g}, {x.max() if len(x) else math.nan:g}]"
        )
    count = float(len(x) if n_effective is None else n_effective)
    spread = min(x.std(), float(np.subtract(*np.percentile(x, [75, 25]))) / 1.34)
    h = bandwidth or 0.9 * spread * count**-0.2
    u = (x - point) / h
    # moments of the kernel on the part that the prior leaves
    a, b = (low - point) / h, (high - point) / h
    phi_a, phi_b, phi = (np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi) for x in (a, b, u))
    m0 = special.ndtr(b) - special.ndtr(a)
    m1 = phi_a - phi_b
    m2 = m0 + (a * phi_a if np.isfinite(a) else 0.0) - (b * phi_b if np.isfinite(b) else 0.0)
    kernel = (m2 - m1 * u) / (m0 * m2 - m1**2) * phi / h
    density = kernel.mean()
    if density <= 0 or (np.abs(u) < 1).sum() < 10:
        raise ParameterError(
            f"Savage-Dickey: only {(np.abs(u) < 1).sum()} samples near {point}; the density there is not measured. "
            "Use a nested sampler, or quote a bound on the Bayes factor"
        )
    error = float(kernel.std() / density / math.sqrt(count))
    at = -math.log(high - low) if log_prior is None else log_prior
    return SavageDickey(math.log(density) - at, error, (high - low) / math.sqrt(12), float(x.std()))


def savage_dickey_joint(
    samples: np.ndarray,  # shape: (n, d)
    limits: Sequence[tuple[float, float]],
    point: Sequence[float],
    *,
    n_effective: float | None = None,
    log_prior: float | None = None,
) -> SavageDickey:
    """Return the ratio of several extra parameters together, away from the edges of their priors.

    A Gaussian kernel of the samples' own covariance times h^2, h = n^(-1/(d+4)) (Scott 1992), with the
    smoothing that it does to a normal of that covariance undone: the ratio N(C)/N((1 + h^2) C) at the point.

    Parameters
    ----------
    samples : numpy.ndarray, shape (n, d)
    limits : sequence of (low, high)
        The priors' edges.
    point : sequence of float, length d
    n_effective : float, optional
        Independent samples among them; default all.
    log_prior : float, optional
        ln of their joint marginal prior density at the point; default that of flat priors.

    Returns
    -------
    SavageDickey
        Widths are the geometric means over the parameters.

    Raises
    ------
    ParameterError
        If the point is outside the priors or nearer to an edge than three bandwidths, or fewer than ten samples
        support the density there.
    """
    x, x0 = np.asarray(samples, dtype=float), np.asarray(point, dtype=float)
    low, high = np.array(limits, dtype=float).T
    if x.ndim != 2 or x.shape[1] != len(x0) or len(x) < 100 or (x < low).any() or (x > high).any():
        raise ParameterError(
            f"Savage-Dickey: expected at least 100 samples of {len(x0)} parameters within their priors, found {x.shape}"
        )
    d, count = len(x0), float(len(x) if n_effective is None else n_effective)
    h = count ** (-1 / (d + 4))
    covariance = np.atleast_2d(np.cov(x.T))
    sigma = np.sqrt(np.diag(covariance))
    if (x0 - low < 3 * h * sigma).any() or (high - x0 < 3 * h * sigma).any():
        raise ParameterError(
            f"Savage-Dickey: {x0.tolist()} lies outside the priors or at an edge of one: use nested sampling"
        )
    factor = np.linalg.cholesky(covariance)
    u = np.linalg.solve(factor, (x - x0).T)
    m = np.linalg.solve(factor, x.mean(0) - x0)
    volume = float(np.log(np.diag(factor)).sum()) + 0.5 * d * math.log(2 * math.pi)
    kernel = np.exp(-0.5 * np.square(u).sum(0) / h**2)
    if (kernel > math.exp(-0.5 * d)).sum() < 10:
        raise ParameterError(
            f"Savage-Dickey: only {(kernel > math.exp(-0.5 * d)).sum()} samples near {x0.tolist()}; the density there is "
            "not measured. Use a nested sampler"
        )
    ln_density = math.log(kernel.mean()) - d * math.log(h) - volume
    ln_density += 0.5 * d * math.log(1 + h**2) - 0.5 * float(m @ m) * (1 - 1 / (1 + h**2))
    error = float(kernel.std() / kernel.mean() / math.sqrt(count))
    widths = (float(np.exp(np.log(v).mean())) for v in ((high - low) / math.sqrt(12), sigma))
    at = -float(np.log(high - low).sum()) if log_prior is None else log_prior
    return SavageDickey(ln_density - at, error, *widths)


def gaussian_equivalent(p_value: float) -> float:
    """Return the sigma of a p-value: a normal number departs from its mean by as much, to either side, with this probability.

    Two-sided wherever cmbfit says sigma: p = 0.317 is 1, p = 0.0455 is 2.
    """
    return float(-special.ndtri(p_value / 2))


@dataclass(frozen=True)
class GlobalSignificance:
    """A look-elsewhere corrected significance.

    Attributes
    ----------
    p_value : float
        Share of simulated skies whose largest improvement reaches the observed one; (k + 1)/(n + 1), never zero.
    low, high : float
        Clopper-Pearson interval of 68%.
    sigma : float
        Two-sided Gaussian equivalent, :func:`gaussian_equivalent`.
    exceeding, simulations : int
    """

    p_value: float
    low: float
    high: float
    sigma: float
    exceeding: int
    simulations: int


def look_elsewhere(
    observed: float,
    simulated: np.ndarray,  # shape: (n,)
) -> GlobalSignificance:
    """Return the chance of an improvement as large as `observed` anywhere in the search.

    Parameters
    ----------
    observed : float
        Largest improvement -delta chi2 > 0 of the data over the whole search (all frequencies, phases, ...).
    simulated : numpy.ndarray, shape (n,)
        The same maximum, for skies simulated without the feature and searched in the same way.

    Raises
    ------
    ParameterError
        If fewer than 20 simulations or numbers that are not finite are given.
    """
    x = np.asarray(simulated, dtype=float).ravel()
    if len(x) < 20 or not np.isfinite(x).all() or not math.isfinite(observed):
        raise ParameterError(f"look-elsewhere: expected at least 20 finite simulations, found {len(x)}")
    k, n = int((x >= observed).sum()), len(x)
    low = float(special.betaincinv(k, n - k + 1, 0.16)) if k else 0.0
    high = float(special.betaincinv(k + 1, n - k, 0.84)) if k < n else 1.0
    p = (k + 1) / (n + 1)
    return GlobalSignificance(p, low, high, gaussian_equivalent(p), k, n)
