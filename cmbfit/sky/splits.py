"""Splits of a field: reading the published maps of a survey and joining detectors into one map each.

A split is what is crossed with other splits: a year, a half mission. Its map is the mean of its
detectors' maps, weighted by inverse variance, and carries that weight per pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.calibrate import calibrate
from cmbfit.sky.car import Car
from cmbfit.sky.car_fits import LAYERS, is_image, read_car_layer
from cmbfit.sky.fits import column_names, read_column, read_stokes
from cmbfit.sky.harmonic import common_grid
from cmbfit.sky.maps import Array, StokesMap
from cmbfit.sky.quality import data_mask
from cmbfit.sky.units import factor_to_uk_cmb

HITS = ("N_OBS", "HITS")
"""Columns of observation counts: WMAP's and Planck HFI's names."""
NOISE = "II_COV"
"""Column of the noise variance of I, Planck HFI's name."""
VARIANCES = ("QQ_COV", "UU_COV")
"""Columns by which Planck's badly observed pixels are known."""


def read_detector(
    path: str | Path,
    *,
    name: str = "",
    sigma0_uk: float = 1.0,
    max_variance_uk2: float = 1e6,
    calibration: Mapping[str, float] | None = None,
    weights: str | Path | None = None,
    **declared: Any,
) -> tuple[StokesMap, Array]:
    """Read one published map, calibrate it and drop its bad pixels.

    Dropped are pixels without data, without hits and, where the file has polarisation variances,
    those of a negative or excessive one (Planck: above 1e6 uK^2, arXiv:2112.13839).

    Parameters
    ----------
    sigma0_uk : float
        Noise of one observation, for files that hold hits but no variance of I.
    calibration : mapping, optional
        Arguments of :func:`~cmbfit.sky.calibrate.calibrate`.
    weights : path, optional
        A file of its own for the weight, CAR images: the inverse noise variance of I in 1/uK^2 of one observation in units of
        sigma0^2, so with a sigma0 of 1 uK the inverse variance itself, and hits with any other. In the map's own file an
        image IVAR, HITS or N_OBS. Dropped are pixels without weight, or with a variance of I above `max_variance_uk2`.
    **declared
        What the header does not say, see :func:`~cmbfit.sky.fits.read_stokes`.

    Returns
    -------
    stokes : StokesMap
    weight : ndarray, shape (npix,)
        Inverse noise variance of I in 1/uK^2: of the file, or hits / sigma0^2; zero where the pixel was
        dropped.

    Raises
    ------
    MapError
        When the file has no column of hits.
    """
    if not sigma0_uk > 0:
        raise MapError(f"{path}: noise per observation {sigma0_uk} uK, expected a number above 0")
    stokes = read_stokes(path, name=name, **declared)
    if weights is not None or isinstance(stokes.grid, Car):
        return _with_layer(stokes, path, weights, sigma0_uk, max_variance_uk2, calibration)
    columns = column_names(path)
    found = [c for c in HITS if c in columns]
    if len(found) != 1:
        raise MapError(f"{path}: expected one column of hits ({' or '.join(HITS)}), found {list(columns)}")
    ordering = declared.get("ordering")

    def variance_of(column: str) -> Array:
        values, unit = read_column(path, column, ordering=ordering)
        scale = factor_to_uk_cmb(unit.removesuffix("^2") or "K_CMB", declared.get("frequency")) ** 2
        return np.nan_to_num(values, nan=-1.0) * scale

    hits, _ = read_column(path, found[0], ordering=ordering)
    variances = [variance_of(c) for c in VARIANCES if c in columns]
    good = data_mask(stokes, hits, variances=variances, max_variance_uk2=max_variance_uk2).support
    if NOISE in columns:
        noise = variance_of(NOISE)
        good &= noise > 0
        weight = np.where(good, 1 / np.where(good, noise, 1.0), 0.0)
    else:
        weight = np.where(good, np.nan_to_num(hits), 0.0) / sigma0_uk**2
    missing = int(stokes.missing.sum())
    stokes = calibrate(stokes, **(calibration or {}))
    record = {"step": "drop bad pixels", "missing": missing, "dropped": int((~good).sum()),
              "max_variance_uk2": max_variance_uk2, "weight": NOISE if NOISE in columns else found[0]}  # fmt: skip
    letters = "iqu" if stokes.polarised else "i"
    return stokes.step(record, **{x: np.where(good, getattr(stokes, x), np.nan) for x in letters}), weight


def _with_layer(
    stokes: StokesMap,
    path: str | Path,
    weights: str | Path | None,
    sigma0_uk: float,
    max_variance_uk2: float,
    calibration: Mapping[str, float] | None,
) -> tuple[StokesMap, Array]:
    """Return a CAR map and the weight that an image says, of the map's file or of one of its own."""
    source, layer = path if weights is None else weights, None
    if weights is None:
        found = column_names(path)
        if len(found) != 1:
            raise MapError(
                f"{path}: expected one image of hits or of an inverse variance ({', '.join(LAYERS)}), found {list(found)}; or a "
                "file of its own (weights of a field in a configuration)"
            )
        layer = found[0]
    if not isinstance(stokes.grid, Car) or not is_image(source):
        raise MapError(
            f"{source}: weights in a file of their own are for CAR maps; of HEALPix maps they are a column"
        )
    values, unit, grid = read_car_layer(source, layer)
    if grid != stokes.grid:
        raise MapError(f"{source}: weights on {grid.name}, the map {path} has {stokes.grid.name}")
    if unit.replace(" ", "").lower() not in {
        "",
        "uk-2",
        "1/uk^2",
        "uk^-2",
        "1/uk2",
        "none",
        "hits",
        "counts",
    }:
        raise MapError(f"{source}: weights in {unit!r}, expected 1/uK^2 or hits without a unit")
    weight = np.nan_to_num(values) / sigma0_uk**2
    if (weight < 0).any():
        raise MapError(f"{source}: {int((weight < 0).sum())} weights below zero")
    good = ~stokes.missing & (weight > 0) & (weight >= 1 / max_variance_uk2)
    record = {"step": "drop bad pixels", "missing": int(stokes.missing.sum()), "dropped": int((~good).sum()),
              "max_variance_uk2": max_variance_uk2, "weight": layer or Path(source).name}  # fmt: skip
    stokes = calibrate(stokes, **(calibration or {}))
    letters = "iqu" if stokes.polarised else "i"
    kept = {x: np.where(good, getattr(stokes, x), np.nan) for x in letters}
    return stokes.step(record, **kept), np.where(good, weight, 0.0)


def coadd(maps: Sequence[StokesMap], weights: Sequence[Array], name: str = "") -> tuple[StokesMap, Array]:
    """Return sum w m / sum w pixel by pixel and sum w; NaN where no map has weight.

    One weight serves I, Q and U: the correlation of Q and U within a pixel is left out.
    """
    common_grid(maps, "coadd")
    if len({m.polarised for m in maps}) > 1:
        raise MapError(f"coadd {name}: some of the maps have Q and U and some do not")
    letters = "iqu" if maps[0].polarised else "i"
    total = np.sum(weights, axis=0)
    seen = total > 0
    out = []
    for letter in letters:
        terms = (w * np.nan_to_num(getattr(m, letter)) for m, w in zip(maps, weights, strict=True))
        out.append(np.where(seen, sum(terms) / np.where(seen, total, 1.0), np.nan))
    if len(maps) == 1:
        one = {"step": "one detector", "field": name}
        return maps[0].step(one, **dict(zip(letters, out, strict=True))), total
    record: dict[str, Any] = {
        "step": "coadd detectors",
        "field": name,
        "detectors": [m.name for m in maps],
        "mean_weights_uk-2": [float(np.mean(w)) for w in weights],
        "histories": [[dict(r) for r in m.history] for m in maps],
    }
    changes: dict[str, Any] = dict(zip(letters, out, strict=True))
    return replace(maps[0], name=name, history=(record,), **changes), total
