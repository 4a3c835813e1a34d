"""Bad pixels: masks of where the data are usable, unions of masks, filling of few isolated pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import healpy
import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.sky.maps import Array, Mask, StokesMap

PLAUSIBLE_UK = 1e12
"""Largest |value| of a map, uK_CMB: the brightest spot of the sky is below it at any frequency (the Galactic centre at 857
GHz, some 1e4 MJy/sr, is 4e9 uK_CMB), and what is left of a marker of bad pixels (1.6e30) after averages or scaling above."""


def require_plausible(stokes: StokesMap, used: NDArray[np.bool_], where: str) -> None:
    """Raise :class:`MapError` when a pixel in use has a value that no sky has, such as a scaled or averaged UNSEEN.

    Parameters
    ----------
    used : ndarray of bool, shape (npix,)
        RING.
    where : str
        What these pixels are, for the message.
    """
    for key in "iqu":
        values = getattr(stokes, key)
        if values.min() >= -PLAUSIBLE_UK and values.max() <= PLAUSIBLE_UK:
            continue  # without a map of absolute values; NaN goes on
        wild = np.flatnonzero(used & (np.abs(values) > PLAUSIBLE_UK))  # NaN is not above
        if wild.size:
            raise MapError(
                f"map {stokes.name!r}: {key.upper()} of {wild.size} pixels {where} is no sky's: {values[wild[0]]:g} uK in "
                f"RING pixel {wild[0]} (a marker of bad pixels that was averaged or scaled?): set the mask to zero there, or "
                "name the marker in BAD_DATA"
            )


def data_mask(
    stokes: StokesMap,
    hits: Array | None = None,
    min_hits: float = 1.0,
    variances: Sequence[Array] = (),
    max_variance_uk2: float = np.inf,
) -> Mask:
    """Return weight 1 where I, Q and U have data, enough hits and a sane variance.

    The Planck recipe (PSpipe, arXiv:2112.13839): drop pixels whose QQ or UU variance is negative or
    above 1e6 uK^2 together with the missing ones.

    Parameters
    ----------
    hits : ndarray, shape (npix,), optional
        Observations per pixel, RING.
    variances : sequence of ndarray, shape (npix,)
        For example II, QQ and UU in uK^2, RING.
    """
    good = ~stokes.missing
    record: dict[str, Any] = {"step": "data mask", "map": stokes.name, "missing": int((~good).sum())}
    layers = {} if hits is None else {"hits": hits}
    layers |= {f"variance {k}": v for k, v in enumerate(variances)}
    for what, values in layers.items():
        if np.shape(values) != stokes.i.shape:
            raise MapError(
                f"data mask: {what} of shape {np.shape(values)}, the map has {stokes.i.size} pixels"
            )
    if hits is not None:
        few = ~(np.asarray(hits) >= min_hits)  # NaN counts as few
        record |= {"min_hits": min_hits, "few_hits": int(few.sum())}
        good = good & ~few
    for k, v in enumerate(variances):
        wild = ~((np.asarray(v) >= 0) & (np.asarray(v) <= max_variance_uk2))
        limit = float(max_variance_uk2) if np.isfinite(max_variance_uk2) else None  # JSON knows no infinity
        record |= {f"bad_variance_{k}": int(wild.sum()), "max_variance_uk2": limit}
        good = good & ~wild
    return Mask(
        good.astype(np.float64),
        coord=stokes.coord,
        name=f"data {stokes.name}",
        history=(record,),
        pixelisation=stokes.grid,
    )


def combine_masks(masks: Sequence[Mask], name: str = "", how: str = "product") -> Mask:
    """Return one mask for many: a pixel cut by any mask is cut (the union of the holes).

    Parameters
    ----------
    how : {"product", "min"}
        "min" takes the lowest weight: for masks that are apodised already along one edge, whose
        product would be tapered twice.

    Raises
    ------
    MapError
        When there is none, nside or coordinates differ, or no sky is left.
    """
    if not masks:
        raise MapError("combine masks: none given")
    if how not in {"product", "min"}:
        raise MapError(f"combine masks by {how!r}: expected 'product' or 'min'")
    first = masks[0]
    for mask in masks[1:]:
        if (mask.grid, mask.coord) != (first.grid, first.coord):
            raise MapError(
                f"combine masks: {first.name!r} is {first.grid.name}, {first.coord} but {mask.name!r} is "
                f"{mask.grid.name}, {mask.coord}"
            )
    weights = np.array(first.weights)
    for mask in masks[1:]:  # one by one: a stack of all would be large
        weights = weights * mask.weights if how == "product" else np.minimum(weights, mask.weights)
    record = {
        "step": "combine masks",
        "how": how,
        "masks": [m.name for m in masks],
        "fsky_each": [m.fsky for m in masks],
        "histories": [[dict(r) for r in m.history] for m in masks],
    }
    named = name or "+".join(m.name for m in masks)
    return Mask(weights, coord=first.coord, name=named, history=(record,), pixelisation=first.grid)


def fill_missing(stokes: StokesMap, max_fraction: float = 0.01, max_rounds: int = 50) -> StokesMap:
    """Fill missing pixels with the mean of their neighbours, outermost first, so that a_lm exist.

    For few isolated pixels that a mask will cut afterwards. Q and U are averaged as they stand,
    which is wrong next to the poles, where the local axes turn within a pixel.

    Raises
    ------
    MapError
        When more than `max_fraction` of the sky or a hole deeper than `max_rounds` pixels is missing.
    """
    require_plausible(stokes, ~stokes.missing, "with data")
    fraction = float(stokes.missing.mean())
    if fraction == 0:
        return stokes
    if fraction > max_fraction:
        raise MapError(
            f"map {stokes.name!r}: {fraction:.3%} of the pixels have no data, more than {max_fraction:.3%}: "
            "inventing so much sky is refused; use a mask"
        )
    filled = []
    for values in (np.array(getattr(stokes, x)) for x in ("iqu" if stokes.polarised else "i")):
        for _ in range(max_rounds):
            todo = np.flatnonzero(np.isnan(values))
            if todo.size == 0:
                break
            neighbours = healpy.get_all_neighbours(stokes.nside, todo)  # (8, n), -1 where there is none
            around = np.where(neighbours >= 0, values[neighbours], np.nan)
            count = np.isfinite(around).sum(axis=0)
            total = np.nansum(around, axis=0)
            values[todo[count > 0]] = total[count > 0] / count[count > 0]
        if np.isnan(values).any():
            raise MapError(f"map {stokes.name!r}: a hole is deeper than {max_rounds} pixels")
        values.flags.writeable = False
        filled.append(values)
    record = {"step": "fill missing pixels", "pixels": int(stokes.missing.sum()), "method": "neighbour mean"}
    return stokes.step(record, **dict(zip("iqu", filled, strict=False)))
