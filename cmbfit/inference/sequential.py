"""When a check by exact spectra is decided: each of its marks holds at five sigma, whatever further points would say.

Points of a chain in random order get exact spectra until every mark of the check (``theory.emulator.check``) is met by a
bound at five sigma (one-sided probability 2.9e-7) of the points so far. A dozen looks at the data spend at most 3e-6
together, so stopping early costs no more than that. What is not decided goes on to the last point and is judged as it
was measured; a mark that is missed therefore costs all points.

Bounds, for n points: Student's t for shifts and widths with their jackknife errors; the chi-square distribution for the
variance v of ln w, of which the effective fraction is exp(-v) where ln w is normal; the one-sided tolerance limit of a
normal variable (non-central t; Hahn & Meeker 1991, *Statistical Intervals*, section 4.6) for the 95% quantiles.

What n random points cannot tell: a part of the chain with less than 3/n of its samples may be missed (at 95%). The points
that lie farthest out are therefore looked at besides (:func:`edges`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from cmbfit.errors import ConfigError
from cmbfit.inference.products import Samples
from cmbfit.inference.reweight import least_points, shift_of

SIGMAS = 5.0
_CHANCE = float(stats.norm.sf(SIGMAS))
EDGES = 4
"""Points at the chain's edge that are looked at besides."""
ROUND = 16
"""Points between two looks."""


def chosen_rows(samples: Samples, draws: int, seed: list[int]) -> np.ndarray:
    """Return which rows of a chain get exact spectra, in order: the same ones whenever the seed is the same."""
    if draws > len(samples.joined):
        raise ConfigError(
            f"theory.emulator.check.draws is {draws}, but the chain has {len(samples.joined)} samples: lower it"
        )
    return np.random.default_rng(seed).choice(len(samples.joined), draws, replace=False)


def first_points(marks: Mapping[str, int]) -> int | None:
    """Return how many points a check begins with, None where it has no more than these."""
    return marks["least"] if marks["least"] < marks["draws"] else None


def in_order(first: int, parts: int) -> np.ndarray:
    """Return which of the first points stand in the joined parts, part after part."""
    return np.concatenate([np.arange(first)[i::parts] for i in range(parts)])


@dataclass(frozen=True)
class Bound:
    """One mark of the check: how far from it the truth is at five sigma.

    Attributes
    ----------
    name : str
    bound, mark : float
    inside : bool
        Whether the bound lies inside the mark.
    """

    name: str
    bound: float
    mark: float
    inside: bool


def tolerance_factor(n: int, quantile: float = 0.95) -> float:
    """Return k such that mean + k standard deviations of `n` normal values exceeds their `quantile` at five sigma."""
    shift = stats.norm.ppf(quantile) * np.sqrt(n)
    return float(stats.nct.isf(_CHANCE, n - 1, shift) / np.sqrt(n))


def bounds(
    names: Sequence[str],
    values: np.ndarray,  # shape: (n, n_names)
    log_weights: np.ndarray,  # shape: (n,)
    delta_chi2: Mapping[str, np.ndarray],  # data set -> shape (n,)
    errors: Mapping[str, np.ndarray],  # pair -> shape (n,): 95% over multipoles of |delta D_l| / sigma_CV
    marks: Mapping[str, float],
) -> list[Bound]:
    """Return where the check stands after n points, a bound for each of its marks.

    Parameters
    ----------
    names, values
        Parameters of the points.
    log_weights
        ln L_exact - ln L_emulated.
    delta_chi2, errors
        What the emulator is judged by.
    marks : mapping
        ``theory.emulator.check`` of the configuration.
    """
    return list(_bounds(names, values, log_weights, delta_chi2, errors, marks))


def _bounds(
    names: Sequence[str],
    values: np.ndarray,
    log_weights: np.ndarray,
    delta_chi2: Mapping[str, np.ndarray],
    errors: Mapping[str, np.ndarray],
    marks: Mapping[str, float],
) -> Iterator[Bound]:
    n = len(values)
    variance = log_weights.var(ddof=1) * (n - 1) / stats.chi2.ppf(_CHANCE, n - 1)
    fraction = float(np.exp(-variance))
    yield Bound("effective fraction", fraction, marks["ess_fraction"], fraction > marks["ess_fraction"])
    t, k = float(stats.t.isf(_CHANCE, n - 1)), tolerance_factor(n)
    shifts = {name: shift_of(values[:, i], log_weights) for i, name in enumerate(names)}
    for word, found in (
        ("shift of a mean", [abs(s.mean) + t * s.mean_error for s in shifts.values()]),
        ("change of a width", [abs(s.width - 1) + t * s.width_error for s in shifts.values()]),
    ):
        yield Bound(word, max(found), marks["shift"], max(found) < marks["shift"])
    for name, x in delta_chi2.items():
        top = float(abs(x.mean()) + k * x.std(ddof=1))
        yield Bound(f"|delta chi2| of {name}, 95%", top, marks["delta_chi2_95"], top < marks["delta_chi2_95"])
    for pair, x in errors.items():
        top = float(x.mean() + k * x.std(ddof=1))
        mark = marks["posterior_95"]
        yield Bound(f"|delta D_l| / sigma_CV of {pair}, 95%", top, mark, top < mark)


def edges(values: np.ndarray, n: int = EDGES) -> np.ndarray:
    """Return the rows of a chain that lie farthest from its mean, by its own covariance.

    Parameters
    ----------
    values : numpy.ndarray, shape (n_samples, n_parameters)
    n : int
    """
    away = values - values.mean(0)
    scale = away.std(0)
    white = away[:, scale > 0] / scale[scale > 0]
    distance = np.einsum("ij,ij->i", white @ np.linalg.pinv(np.cov(white, rowvar=False)), white)
    _, first = np.unique(values, axis=0, return_index=True)  # a walker that stayed is one point
    return first[np.argsort(-distance[first])[:n]]


def edge_mark(ess_fraction: float) -> float:
    """Return how far ln w may lie from its mean at the edge: three standard deviations of the widest ln w allowed."""
    return 3.0 * float(np.sqrt(-np.log(ess_fraction)))


def record(found: Sequence[Bound], n: int, most: int, n_sampled: int) -> dict[str, Any]:
    """Return a decision as JSON; points too few for weights linear in the parameters decide nothing."""
    return {
        "points": n,
        "most": most,
        "sigmas": SIGMAS,
        "decided": all(b.inside for b in found) and n >= least_points(n_sampled),
        "unseen_95": min(1.0, 3.0 / n),
        "bounds": [vars(b) for b in found],
    }
