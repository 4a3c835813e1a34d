"""Maps of several frequencies brought to one beam and joined in harmonic space.

With weights w_f(l) that sum to one at every l, sum_f w_f (b / b_f) a_f has the CMB with weight one and
the beam b. Weights ~ b_f^2 / N_f leave the least noise; with weights (1, -1) / 2 the CMB cancels. This comes
before any mask: behind one, beams can no longer be exchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.sky.beams import Beam
from cmbfit.sky.harmonic import Alm, alm2stokes, alm_size, scale_alm, stokes2alm
from cmbfit.sky.maps import Array, Record, StokesMap
from cmbfit.sky.quality import fill_missing


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


def join_channels(
    maps: Iterable[StokesMap],
    transfers: Mapping[str, Beam],
    weights: Mapping[str, Array],
    new: Beam,
    name: str,
    floor: float = 1e-4,
) -> StokesMap:
    """Return the map of sum_f w_f (b / b_f) a_f, without data where any channel has none.

    Parameters
    ----------
    maps : iterable of StokesMap
        One a channel, named as in `transfers`; taken one by one to save memory.
    transfers : mapping
        Beam times pixel window of each channel; what E holds of T (`t_to_e`) is taken off.
    weights : mapping name -> ndarray, shape (lmax + 1,)
    new : Beam
        Of the result, which has no pixel window.
    floor : float
        Multipoles at which a channel's beam is lower than this take nothing from it.
    """
    total: Alm | None = None
    missing: NDArray[np.bool_] | None = None
    nside, coord, history = 0, "", []
    for stokes in maps:
        weight, beam = weights[stokes.name], transfers[stokes.name]
        lmax = weight.size - 1
        if total is None or missing is None:
            nside, coord = stokes.nside, stokes.coord
            total = np.zeros((3, alm_size(lmax)), dtype=np.complex128)
            missing = np.zeros(stokes.i.size, dtype=bool)
        if (stokes.nside, stokes.coord) != (nside, coord):
            raise MapError(f"joining channels: {stokes.name} has another nside or other coordinates")
        missing |= stokes.missing
        old, out = beam.cut(lmax).teb, new.cut(lmax).teb
        ratio = np.where(np.abs(old) > floor, weight * out / np.where(np.abs(old) > floor, old, 1.0), 0.0)
        teb = stokes2alm(fill_missing(stokes).iqu, lmax)
        if beam.t_to_e is not None:
            # full-sky coefficients: what E holds of T comes off one by one
            leak = np.where(
                np.abs(old[0]) > floor, beam.t_to_e[: lmax + 1] / np.where(old[0] == 0, 1.0, old[0]), 0.0
            )
            teb[1] -= scale_alm(teb[0], leak)
        for k in range(3):
            total[k] += scale_alm(teb[k], ratio[k])
        history.append({"channel": stokes.name, "history": [dict(r) for r in stokes.history]})
    if total is None or missing is None:
        raise MapError("joining channels: no map given")
    iqu = alm2stokes(total, nside)
    iqu[:, missing] = np.nan
    record: Record = {"step": "join channels", "channels": history, "missing": int(missing.sum())}
    i, q, u = iqu
    return StokesMap(i, q, u, coord=coord, name=name, history=(record,))


def joined_weight(weights: Sequence[Array]) -> Array:
    """Return the sum of the channels' inverse variances, zero where any has none: the shape of the noise."""
    seen = np.all([w > 0 for w in weights], axis=0)
    return np.where(seen, np.sum(weights, axis=0), 0.0)
