"""Masks made from geometry: Galactic latitude cuts, holes around point sources."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
from numpy.typing import ArrayLike

from cmbfit.errors import MapError
from cmbfit.io import reading
from cmbfit.sky.maps import COORDINATES, Mask, nside_of, projected
from cmbfit.sky.rotate import rotation_matrix


def galactic_cut(nside: int, latitude_deg: float, coord: str = "G") -> Mask:
    """Return weight 1 where |b| > latitude_deg, in any coordinates.

    Examples
    --------
    >>> round(galactic_cut(64, 20.0).fsky, 2)
    0.66
    """
    nside_of(12 * nside**2, "galactic cut")
    if not 0 <= latitude_deg < 90:
        raise MapError(f"galactic cut at {latitude_deg} deg: expected 0 to 90")
    pole = rotation_matrix("G", coord)[:, 2]
    edge = np.sin(np.radians(latitude_deg)) + 1e-12  # a ring that lies on the cut, up to rounding, is cut
    weights = (np.abs(projected(nside, pole)) > edge).astype(np.float64)
    record = {"step": "galactic cut", "latitude_deg": latitude_deg}
    return Mask(weights, coord=coord, name=f"b{latitude_deg:g}", history=(record,))


def source_holes(
    nside: int,
    lon_deg: ArrayLike,
    lat_deg: ArrayLike,
    radius_deg: ArrayLike,
    coord: str = "G",
    catalogue_coord: str | None = None,
) -> Mask:
    """Return weight 0 within `radius_deg` of every source; the pixel that holds the source is always cut.

    Parameters
    ----------
    lon_deg, lat_deg : array_like, shape (n,)
        In `catalogue_coord` (default: `coord`); turned to `coord` when the two differ.
    radius_deg : float or array_like, shape (n,)
        For example 3 sigma of the beam; C1 or C2 apodisation of these holes comes afterwards.

    Raises
    ------
    MapError
        When lengths differ, a coordinate is out of range or a radius is not between 0 and 90.
    """
    nside_of(12 * nside**2, "source holes")
    try:
        lon, lat, radius = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (lon_deg, lat_deg, radius_deg))
        )
    except ValueError as error:
        raise MapError(f"source holes: lon, lat and radius have different lengths: {error}") from error
    ok = np.isfinite(lon) & (np.abs(lat) <= 90) & (radius >= 0) & (radius < 90)
    if lon.ndim != 1 or not ok.all():
        raise MapError(
            f"source holes: {int((~ok).sum())} rows with lat outside [-90, 90], radius outside [0, 90) or NaN, "
            f"first {np.flatnonzero(~ok)[:3].tolist()}"
        )
    vectors = healpy.ang2vec(lon, lat, lonlat=True).reshape(-1, 3)
    vectors = vectors @ rotation_matrix(catalogue_coord or coord, coord).T
    weights = np.ones(12 * nside**2)
    for vector, r in zip(vectors, radius, strict=True):
        weights[healpy.query_disc(nside, vector, np.radians(r))] = 0.0
    weights[healpy.vec2pix(nside, *vectors.T)] = 0.0
    record = {
        "step": "source holes",
        "sources": int(lon.size),
        "radius_deg": [float(radius.min()), float(radius.max())] if radius.size else [],
        "catalogue_coord": COORDINATES[catalogue_coord or coord],
    }
    return Mask(weights, coord=coord, name="sources", history=(record,))


def read_sources(path: str | Path) -> np.ndarray:
    """Read a text catalogue, rows "lon lat radius" in degrees with `#` comments; shape (3, n)."""
    with reading(path, "rows 'lon lat radius' in degrees", MapError):
        rows = np.loadtxt(path, ndmin=2)
    if rows.shape[1] != 3 or not np.isfinite(rows).all():
        raise MapError(f"{path}: expected 3 finite columns lon, lat, radius, found shape {rows.shape}")
    return np.asarray(rows.T, dtype=np.float64)
