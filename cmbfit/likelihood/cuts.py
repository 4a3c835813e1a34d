"""Cuts in multipole: bandpowers outside are left out, that is, marginalised over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmbfit.errors import LikelihoodError

Ranges = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Bandpowers:
    """Windows, data and covariance of a Gaussian data set, in the order of the windows.

    Attributes
    ----------
    windows : dict of str to numpy.ndarray, shape (n_bins of the pair, lmax + 1)
    data : numpy.ndarray, shape (n,)
    covariance : numpy.ndarray, shape (n, n)
    """

    windows: dict[str, np.ndarray]
    data: np.ndarray
    covariance: np.ndarray


def centres(window: np.ndarray) -> np.ndarray:  # shape: (n_bins,)
    """Return the mean multipole of each bandpower, weighted with |window|."""
    weight = np.abs(window)
    return weight @ np.arange(window.shape[1]) / weight.sum(axis=1)


def kept_bins(window: np.ndarray, lmin: int, lmax: int, whole: bool) -> np.ndarray:
    """Return the indices of the bandpowers inside [lmin, lmax].

    Parameters
    ----------
    window : numpy.ndarray, shape (n_bins, any)
    whole : bool
        Keep bins that lie inside as a whole (right for bins with edges); else those whose centre does
        (right for windows with tails).
    """
    if not whole:
        middle = centres(window)
        return np.flatnonzero((middle >= lmin) & (middle <= lmax))
    used = window != 0
    first = used.argmax(axis=1)
    last = window.shape[1] - 1 - used[:, ::-1].argmax(axis=1)
    return np.flatnonzero((first >= lmin) & (last <= lmax))


def cut(name: str, bandpowers: Bandpowers, cuts: Ranges, *, whole: bool) -> Bandpowers:
    """Keep the bandpowers inside the given ranges; pairs that are not named stay as they are.

    Leaving rows and columns of the covariance out is the same as marginalising the bandpowers there
    (and as giving them an infinite variance, as some codes do).

    Parameters
    ----------
    name : str
        Of the data set, for messages.
    cuts : mapping of str to (int, int)
        Pair to the first and last multipole kept; [0, 0] drops the pair.

    Raises
    ------
    LikelihoodError
        For a pair that the data set does not have, a range in the wrong order, or nothing left.
    """
    kept = kept_rows(name, bandpowers.windows, {p: p for p in bandpowers.windows}, cuts, whole=whole)
    windows, index, start = {}, list[int](), 0
    for pair, window in bandpowers.windows.items():
        if kept[pair].size:
            windows[pair] = window[kept[pair]]
        index += (start + kept[pair]).tolist()
        start += len(window)
    return Bandpowers(
        windows, bandpowers.data[index], np.ascontiguousarray(bandpowers.covariance[np.ix_(index, index)])
    )


def kept_rows(
    name: str, windows: Mapping[str, np.ndarray], pairs: Mapping[str, str], cuts: Ranges, *, whole: bool
) -> dict[str, np.ndarray]:
    """Return the indices of the bandpowers that each block keeps; arguments and errors as for :func:`cut`.

    Parameters
    ----------
    windows : mapping of str to numpy.ndarray, shape (n_bins, lmax + 1)
        Of blocks, of which one pair may have several.
    pairs : mapping of str to str
        Block to its pair.
    """
    known = list(dict.fromkeys(pairs.values()))
    if unknown := [p for p in cuts if p not in known]:
        raise LikelihoodError(
            f"{name}: cuts name the pair {unknown[0]!r}; this data set has {', '.join(known)}"
        )
    out = {block: np.arange(len(window)) for block, window in windows.items()}
    for pair, (lmin, lmax) in cuts.items():
        if lmin > lmax:
            raise LikelihoodError(f"{name}: cuts: {pair}: expected [lmin, lmax], found [{lmin}, {lmax}]")
        mine = [block for block in windows if pairs[block] == pair]
        out |= {block: kept_bins(windows[block], lmin, lmax, whole) for block in mine}
        if not any(out[block].size for block in mine) and (lmin, lmax) != (0, 0):
            raise LikelihoodError(
                f"{name}: no {pair} bandpower lies inside l = {lmin}-{lmax}; [0, 0] drops the pair"
            )
    if not any(rows.size for rows in out.values()):
        raise LikelihoodError(f"{name}: the cuts leave no bandpower")
    return out


def cut_sky(
    sky: Mapping[str, Ranges], bandpowers: Bandpowers, cuts: Ranges, *, whole: bool
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the multipoles that are counted after a cut, by survey and pair."""
    out: dict[str, dict[str, tuple[int, int]]] = {}
    for survey, ranges in sky.items():
        out[survey] = {}
        for pair, (low, high) in ranges.items():
            if pair not in cuts:
                out[survey][pair] = (low, high)
            elif pair in bandpowers.windows:
                first, last = cuts[pair]
                if whole:
                    used = np.flatnonzero(bandpowers.windows[pair].any(axis=0))
                    first, last = int(used[0]), int(used[-1])
                if max(low, first) <= min(high, last):
                    out[survey][pair] = (max(low, first), min(high, last))
    return out
