"""Changing the beam and the nside of a map, through a_lm only.

Averaging Q and U over pixels (ud_grade) adds components along different local axes and turns E into
B; it also leaves all the power beyond 2 nside in the map as aliases. Here the a_lm are cut by a
window first and synthesised on the new grid.
"""

from __future__ import annotations

import healpy
import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.beams import Beam, beam_ratio
from cmbfit.sky.harmonic import alm2stokes, require_full_sky, scale_alm, stokes2alm
from cmbfit.sky.maps import Array, Mask, StokesMap, nside_of


def cosine_window(nside: int) -> Array:
    """Return 1 for l <= nside and (1 + cos(pi (l - nside) / (2 nside))) / 2 up to 3 nside; shape (3 nside + 1,).

    Benabed et al. 2009 (arXiv:0901.4537), as the low-l Planck maps use it.
    """
    nside_of(12 * nside**2, "cosine window")
    ell = np.arange(3 * nside + 1)
    return np.where(ell <= nside, 1.0, 0.5 * (1 + np.cos(np.pi * (ell - nside) / (2 * nside))))


def cosine_beam(nside: int) -> Beam:
    """Return the cosine window for T, E and B."""
    window = cosine_window(nside)
    return Beam(window, window, window)


def change_resolution(
    stokes: StokesMap,
    nside: int,
    old: Beam,
    new: Beam,
    *,
    lmax: int | None = None,
    floor: float = 1e-3,
    n_iter: int = 3,
) -> StokesMap:
    """Return the map with the transfer function `new` in place of `old`, on another nside.

    Parameters
    ----------
    old, new : Beam
        Beam times pixel window, before and after (a map made by synthesis has no pixel window:
        leave it out of `new` and say so downstream, or put it in).
    lmax : int, optional
        Default: the lowest of 3 nside_new, 3 nside_old - 1 and both beams' lmax. Multipoles beyond
        are dropped; `new` should be small there.
    floor : float
        See :func:`cmbfit.sky.beams.beam_ratio`.

    Examples
    --------
    >>> m = StokesMap(*np.zeros((3, 12 * 8**2)), coord="G")
    >>> change_resolution(m, 4, Beam.unit(24), cosine_beam(4)).nside
    4
    """
    require_full_sky(stokes, "a change of resolution")
    nside_of(12 * nside**2, "new resolution")
    top = min(3 * nside, 3 * stokes.nside - 1, old.lmax, new.lmax) if lmax is None else lmax
    ratio = beam_ratio(old, new, top, floor)
    teb = stokes2alm(stokes.iqu, top, n_iter)
    teb = np.stack([scale_alm(a, r) for a, r in zip(teb, ratio.teb, strict=True)])
    i, q, u = alm2stokes(teb, nside)
    record = {
        "step": "change resolution",
        "nside": [stokes.nside, nside],
        "lmax": top,
        "floor": floor,
        "under_floor": [int((r[2:] == 0).sum()) for r in ratio.teb],
        "new_transfer_at_lmax": [float(x[top]) for x in new.teb],
    }
    return stokes.step(record, i=i, q=q, u=u)


def degrade_mask(mask: Mask, nside: int, threshold: float | None = 0.9) -> Mask:
    """Return the mask on a coarser grid by averaging pixels; cut where the average is below `threshold`.

    Averaging is right for a scalar such as a mask. A :class:`StokesMap` is refused: see
    :func:`change_resolution`.

    Parameters
    ----------
    threshold : float or None
        None keeps the averages as weights.
    """
    if isinstance(mask, StokesMap):
        raise MapError(
            "averaging Q and U over pixels mixes E and B: use change_resolution, which goes through a_lm"
        )
    if nside > mask.nside:
        raise MapError(f"mask {mask.name!r}: nside {nside} is finer than its own {mask.nside}")
    nside_of(12 * nside**2, "degrade mask")
    nested = healpy.reorder(np.array(mask.weights), r2n=True)
    mean = healpy.reorder(nested.reshape(12 * nside**2, -1).mean(axis=1), n2r=True)
    weights = mean if threshold is None else (mean >= threshold).astype(np.float64)
    record = {"step": "degrade mask", "nside": [mask.nside, nside], "threshold": threshold}
    return mask.step(record, weights=np.clip(weights, 0.0, 1.0))
