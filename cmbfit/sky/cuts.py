"""Masks made from geometry: Galactic latitude cuts, no cut at all."""

from __future__ import annotations

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.maps import Mask, projected
from cmbfit.sky.pixelisation import Pixelisation, grid_of_nside
from cmbfit.sky.rotate import rotation_matrix


def full_sky(nside: int | Pixelisation, coord: str = "G") -> Mask:
    """Return weight 1 everywhere, for maps that come without a mask; in every pixel of a grid that is a part of the sky."""
    grid = grid_of_nside(nside)
    record = {"step": "no mask given: the full sky"}
    return Mask(np.ones(grid.npix), coord=coord, name="full sky", history=(record,), pixelisation=grid)


def galactic_cut(nside: int | Pixelisation, latitude_deg: float, coord: str = "G") -> Mask:
    """Return weight 1 where |b| > latitude_deg, in any coordinates.

    Examples
    --------
    >>> round(galactic_cut(64, 20.0).fsky, 2)
    0.66
    """
    grid = grid_of_nside(nside)
    if not 0 <= latitude_deg < 90:
        raise MapError(f"galactic cut at {latitude_deg} deg: expected 0 to 90")
    pole = rotation_matrix("G", coord)[:, 2]
    edge = np.sin(np.radians(latitude_deg)) + 1e-12  # a ring that lies on the cut, up to rounding, is cut
    weights = (np.abs(projected(grid, pole)) > edge).astype(np.float64)
    record = {"step": "galactic cut", "latitude_deg": latitude_deg}
    return Mask(weights, coord=coord, name=f"b{latitude_deg:g}", history=(record,), pixelisation=grid)
