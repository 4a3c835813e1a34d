"""How far two fits' parameters lie apart, and how far they should: what their data share decides.

- data of one among the other's: the difference scatters by the difference of the covariances, |C_1 - C_2| (Gratton & Challinor
  2020, arXiv:1911.07754, eq. 1; exact for optimal Gaussian estimates);
- no data shared: by their sum, C_1 + C_2;
- the same data (other theory, priors, code): nothing is expected, and the shift is in units of the first fit's error;
- some data shared: unknown without simulations; between the two above, so that C_1 + C_2 is what is quoted, and said to be too wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.stats import chi2 as chi2_distribution

SAME, NESTED, APART, PARTLY = (
    "the same data",
    "data of one are part of the other's",
    "no data shared",
    "some data shared",
)

_KNOWS_LESS = 1.1
"""Ratio of errors from which a direction counts in the joint chi2 of nested data."""


def relation(one: Sequence[Mapping[str, Any]], two: Sequence[Mapping[str, Any]]) -> str:
    """Return how the data of two fits overlap.

    Parameters
    ----------
    one, two : sequence of mapping
        Data sets as a summary has them: ``name`` and ``sky`` (survey to pair to range of multipoles).

    Examples
    --------
    >>> planck = {"name": "planck", "sky": {"planck": {"tt": [30, 2508]}}}
    >>> cut = {"name": "planck", "sky": {"planck": {"tt": [30, 999]}}}
    >>> relation([planck], [cut]), relation([cut], [{"name": "bao", "sky": {}}])
    ('data of one are part of the other's', 'no data shared')
    """
    if _within(one, two) and _within(two, one):
        return SAME
    if _within(one, two) or _within(two, one):
        return NESTED
    return PARTLY if any(_meet(a, b) for a in one for b in two) else APART


def _within(one: Sequence[Mapping[str, Any]], two: Sequence[Mapping[str, Any]]) -> bool:
    return all(any(_part(a, b) for b in two) for a in one)


def _part(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Return whether a data set is another, or a cut of it."""
    return a["name"] == b["name"] and all(
        survey in b["sky"]
        and all(
            pair in b["sky"][survey] and b["sky"][survey][pair][0] <= low <= high <= b["sky"][survey][pair][1]
            for pair, (low, high) in pairs.items()
        )
        for survey, pairs in a["sky"].items()
    )


def _meet(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Return whether two data sets are one, or count the same multipoles of one survey."""
    if a["name"] == b["name"] and not a["sky"] and not b["sky"]:
        return True
    return any(
        pair in b["sky"].get(survey, {})
        and max(low, b["sky"][survey][pair][0]) <= min(high, b["sky"][survey][pair][1])
        for survey, pairs in a["sky"].items()
        for pair, (low, high) in pairs.items()
    )


@dataclass(frozen=True)
class Shift:
    """A fit against a reference.

    Attributes
    ----------
    relation : str
        Of their data.
    difference : dict of str to float
        Mean minus the reference's, of every parameter that both have.
    expected : dict of str to float
        Standard deviation of that difference; NaN where the smaller data set's error is not the larger one's.
    chi2, pte : float or None
        Of all sampled parameters that both have, together; None for the same data, and where the smaller data set knows as
        much.
    together : tuple of str
        These parameters.
    directions : int
        Degrees of freedom of chi2: all parameters, or of nested data the directions in which the smaller data set's error is
        larger by a tenth at least.
    """

    relation: str
    difference: dict[str, float]
    expected: dict[str, float]
    chi2: float | None
    pte: float | None
    together: tuple[str, ...]
    directions: int = 0

    def record(self) -> dict[str, Any]:
        """Return it as JSON; what is not known is null."""
        known = {p: x if np.isfinite(x) else None for p, x in self.expected.items()}
        return {**vars(self), "expected": known, "together": list(self.together)}


def shift_of(
    kind: str,
    reference: tuple[Sequence[str], np.ndarray],
    other: tuple[Sequence[str], np.ndarray],
    sampled: Sequence[str],
) -> Shift:
    """Return how far a fit lies from a reference.

    Parameters
    ----------
    kind : str
        From :func:`relation`.
    reference, other : (names, samples of shape (n, names))
    sampled : sequence of str
        Parameters that both fits sampled, and that mean the same in both: cosmological ones.
    """
    columns = [p for p in reference[0] if p in other[0]]
    one, two = (x[:, [list(names).index(p) for p in columns]] for names, x in (reference, other))
    cov = [np.atleast_2d(np.cov(x.T)) for x in (one, two)]
    return shift_of_moments(kind, columns, [x.mean(axis=0) for x in (one, two)], cov, sampled)


def shift_of_moments(
    kind: str,
    columns: Sequence[str],
    mean: Sequence[np.ndarray],
    cov: Sequence[np.ndarray],
    sampled: Sequence[str],
    known: np.ndarray | None = None,
) -> Shift:
    """Return how far the second of two fits lies from the first one.

    Parameters
    ----------
    kind : str
        From :func:`relation`.
    columns : sequence of str
        Parameters, n.
    mean, cov : two of numpy.ndarray, shapes (n,) and (n, n)
    sampled : sequence of str
        Parameters of the joint chi2.
    known : numpy.ndarray, shape (n, n), optional
        Covariance of the difference, where more is known of what two fits share than their relation says.
    """
    shift = mean[1] - mean[0]
    if known is not None:
        expected = known
    elif kind == SAME:
        expected = cov[0]
    elif kind == NESTED:
        larger = int(np.trace(cov[1] / np.sqrt(np.outer(np.diag(cov[0]), np.diag(cov[0])))) > len(columns))
        expected = cov[larger] - cov[1 - larger]
    else:
        expected = cov[0] + cov[1]
    variance = np.diag(expected)
    sigma = np.sqrt(np.where(variance > 0, variance, np.nan))
    together = tuple(p for p in columns if p in sampled)
    pick = [list(columns).index(p) for p in together]
    chi2 = pte = None
    directions = 0
    if kind != SAME and together:
        if known is not None:
            chi2, directions = _in_known(shift[pick], known[np.ix_(pick, pick)])
        else:
            chi2, directions = _joint(
                shift[pick], [c[np.ix_(pick, pick)] for c in cov], nested=kind == NESTED
            )
        pte = float(chi2_distribution.sf(chi2, directions)) if directions else None
    return Shift(
        kind,
        dict(zip(columns, shift.tolist(), strict=True)),
        dict(zip(columns, sigma.tolist(), strict=True)),
        chi2 if directions else None,
        pte,
        together,
        directions,
    )


def _in_known(shift: np.ndarray, covariance: np.ndarray) -> tuple[float, int]:
    """Return chi2 of a shift whose covariance is known; no directions if samples' noise left it without an inverse."""
    scale = np.sqrt(np.abs(np.diag(covariance)))
    if np.linalg.eigvalsh(covariance / np.outer(scale, scale))[0] <= 0:
        return 0.0, 0
    return float(shift @ np.linalg.solve(covariance, shift)), len(shift)


def _joint(mean: np.ndarray, cov: Sequence[np.ndarray], *, nested: bool) -> tuple[float, int]:
    """Return chi2 of a shift and the number of directions in which it is taken.

    Of nested data, those in which the smaller data set's error is larger by a tenth at least: in others the difference of
    the covariances is that of the samples' own noise.
    """
    if not nested:
        return float(mean @ np.linalg.solve(cov[0] + cov[1], mean)), len(mean)
    larger = int(np.linalg.slogdet(cov[1])[1] > np.linalg.slogdet(cov[0])[1])
    ratio, vectors = eigh(cov[larger], cov[1 - larger])  # v^T C_small v = 1
    used = ratio > _KNOWS_LESS**2
    along = vectors[:, used].T @ mean
    return float(np.sum(along**2 / (ratio[used] - 1))), int(used.sum())
