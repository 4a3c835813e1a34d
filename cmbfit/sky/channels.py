"""Maps of several frequencies brought to one beam and joined in harmonic space.

With weights w_f(l) that sum to one at every l, sum_f w_f (b / b_f) a_f has the CMB with weight one and
the beam b. Weights ~ b_f^2 / N_f leave the least noise; with weights (1, -1) / 2 the CMB cancels. This comes
before any mask: behind one, beams can no longer be exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.beams import LEAKS, Beam
from cmbfit.sky.harmonic import Alm, common_nside, lmax_of, scale_alm, stokes2alm
from cmbfit.sky.maps import Array, StokesMap
from cmbfit.sky.quality import fill_missing

_FLOOR = 1e-4
"""A beam below this holds no signal worth its noise."""


def noise_weights(
    transfers: Mapping[str, Beam], variances: Mapping[str, float], lmax: int, ranges: Mapping[str, int]
) -> dict[str, Array]:
    """Return w_f(l) ~ b_f(l)^2 / variance_f, summing to one, shape (lmax + 1,) each.

    Parameters
    ----------
    variances : mapping
        Noise variance per pixel, uK^2.
    ranges : mapping
        Highest multipole of a channel, with a cosine taper over the tenth below it; all when absent.

    Raises
    ------
    MapError
        When no channel reaches `lmax`.
    """
    ell = np.arange(lmax + 1)
    raw = {}
    for name, beam in transfers.items():
        top = min(ranges.get(name, lmax), lmax)
        start = round(0.9 * top)
        fade = 0.5 * (1 + np.cos(np.pi * np.clip((ell - start) / max(top - start, 1), 0, 1)))
        cut = np.ones(lmax + 1) if top >= lmax else fade
        raw[name] = beam.cut(lmax).t ** 2 / variances[name] * cut
    total = np.sum(list(raw.values()), axis=0)
    if not (total > 0).all():
        raise MapError(f"joining channels: none reaches l = {int(np.flatnonzero(total <= 0)[0])}")
    return {name: values / total for name, values in raw.items()}


def channel_alm(stokes: StokesMap, transfer: Beam, lmax: int, n_iter: int = 1) -> Alm:
    """Return T, E and B coefficients of one channel, its beam in them, shape (3, alm_size(lmax)).

    What E and B hold of T (`t_to_e`, `t_to_b`) is taken off. Few missing pixels are filled (:func:`~cmbfit.sky.quality.fill_missing`).

    Parameters
    ----------
    transfer : Beam
        Beam times pixel window.
    n_iter : int
        Of the analysis. One leaves less than 1e-6 of the power at any l up to 1.3 nside.
    """
    beam = transfer.cut(lmax)
    common_nside([stokes], "channels")  # HEALPix alone
    teb = stokes2alm(fill_missing(stokes).iqu, lmax, n_iter)
    seen = np.abs(beam.t) > _FLOOR
    for key, leak in beam.leaks.items():
        # full-sky coefficients: what E or B holds of T comes off one by one
        teb[1 + LEAKS.index(key)] -= scale_alm(
            teb[0], np.where(seen, leak, 0.0) / np.where(seen, beam.t, 1.0)
        )
    return teb


def join_channels(
    alms: Mapping[str, Alm], transfers: Mapping[str, Beam], weights: Mapping[str, Array], new: Beam
) -> Alm:
    """Return sum_f w_f (b / b_f) a_f, shape (3, alm_size(lmax)); multipoles at which b_f is below 1e-4 take nothing of f.

    Parameters
    ----------
    alms : mapping
        Of :func:`channel_alm`.
    transfers : mapping
        Beam times pixel window of each channel.
    weights : mapping name -> ndarray, shape (lmax + 1,)
    new : Beam
        Of the result, which has no pixel window.

    Raises
    ------
    MapError
        When there is no channel, or two of different lmax.
    """
    sizes = {name: a.shape for name, a in alms.items()}
    if len(set(sizes.values())) != 1:
        raise MapError(f"joining channels: expected coefficients of one lmax, found shapes {sizes}")
    total = np.zeros(next(iter(sizes.values())), dtype=np.complex128)
    for name, alm in alms.items():
        lmax = lmax_of(alm)
        old, out = transfers[name].cut(lmax).teb, new.cut(lmax).teb
        seen = np.abs(old) > _FLOOR
        ratio = np.where(seen, weights[name] * out, 0.0) / np.where(seen, old, 1.0)
        for k in range(3):
            total[k] += scale_alm(alm[k], ratio[k])
    return total


def joined_weight(weights: Sequence[Array]) -> Array:
    """Return the sum of the channels' inverse variances, zero where any has none: the shape of the noise."""
    if len({w.shape for w in weights}) != 1:
        raise MapError(
            f"joining channels: expected maps of one nside, found {[w.size for w in weights]} pixels"
        )
    seen = np.all([w > 0 for w in weights], axis=0)
    return np.where(seen, np.sum(weights, axis=0), 0.0)
