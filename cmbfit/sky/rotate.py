"""Rotation between Galactic, celestial and ecliptic coordinates in harmonic space.

Q and U are components of a spin-2 field: turning the sky also turns the local axes they refer to.
Rotating (T, E, B) coefficients does both exactly; interpolating Q and U alone would not.
"""

from __future__ import annotations

import ducc0
import healpy
import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.harmonic import Alm, alm2stokes, lmax_of, require_full_sky, stokes2alm
from cmbfit.sky.maps import COORDINATES, Array, Mask, StokesMap, unit_vectors


def rotation_matrix(source: str, target: str) -> Array:
    """Return the matrix R with v_target = R v_source for "G", "C" (J2000) or "E" (J2000); shape (3, 3)."""
    for system in (source, target):
        if system not in COORDINATES:
            raise MapError(f"coordinates {system!r}, expected one of {sorted(COORDINATES)}")
    if source == target:
        return np.eye(3)
    return np.array(healpy.Rotator(coord=[source, target]).mat, dtype=np.float64)


def euler_zyz(matrix: Array) -> tuple[float, float, float]:
    """Return (psi, theta, phi) in radians with R = R_z(phi) R_y(theta) R_z(psi)."""
    sine = np.hypot(matrix[0, 2], matrix[1, 2])
    theta = np.arctan2(sine, matrix[2, 2])
    if sine < 1e-14:  # a turn about z, by pi about y when R_zz = -1
        sign = np.sign(matrix[2, 2])
        return float(np.arctan2(matrix[1, 0], sign * matrix[0, 0])), float(theta), 0.0
    phi = np.arctan2(matrix[1, 2], matrix[0, 2])
    psi = np.arctan2(matrix[2, 1], -matrix[2, 0])
    return float(psi), float(theta), float(phi)


def rotate_alm(alm: Alm, matrix: Array, nthreads: int = 1) -> Alm:
    """Return the coefficients of the field in the coordinates v' = R v.

    T, E and B are scalars under rotations, so each row transforms with the Wigner matrices alike.

    Parameters
    ----------
    alm : ndarray, shape (n, alm_size(lmax))
        Any mixture of T, E and B rows.
    matrix : ndarray, shape (3, 3)
        Proper rotation; see :func:`rotation_matrix`.
    """
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-8) or np.linalg.det(matrix) < 0:
        raise MapError("rotation: expected a proper orthogonal 3 x 3 matrix")
    psi, theta, phi = euler_zyz(matrix)
    return ducc0.sht.rotate_alm(np.ascontiguousarray(alm), lmax_of(alm), psi, theta, phi, nthreads=nthreads)


def rotate(stokes: StokesMap, coord: str, lmax: int | None = None, n_iter: int = 3) -> StokesMap:
    """Return the map in other coordinates.

    The result holds the multipoles up to `lmax` only (default 2 nside, beyond which HEALPix transforms
    do not converge): a map with power beyond, such as white noise, loses it. Rotate before adding white
    noise to a simulation, and prefer rotating a mask (:func:`rotate_mask`) to rotating a noisy map.

    Raises
    ------
    MapError
        When pixels have no data or the coordinates are unknown.

    Examples
    --------
    >>> m = StokesMap(*np.zeros((3, 48)), coord="G")
    >>> rotate(m, "C").coord
    'C'
    """
    require_full_sky(stokes, "rotation")
    matrix = rotation_matrix(stokes.coord, coord)
    if coord == stokes.coord:
        return stokes
    top = 2 * stokes.nside if lmax is None else lmax
    teb = rotate_alm(stokes2alm(stokes.iqu, top, n_iter), matrix)
    i, q, u = alm2stokes(teb, stokes.nside)
    record = {"step": "rotate", "from": stokes.coord, "to": coord, "lmax": top, "n_iter": n_iter}
    return stokes.step(record, i=i, q=q, u=u, coord=coord)


def rotate_mask(mask: Mask, coord: str) -> Mask:
    """Return the mask in other coordinates: the weight at the nearest pixel centre, so 0 and 1 stay 0 and 1."""
    matrix = rotation_matrix(mask.coord, coord)
    if coord == mask.coord:
        return mask
    old = unit_vectors(mask.nside) @ matrix  # rows v_new: R^T v_new
    weights = mask.weights[healpy.vec2pix(mask.nside, *old.T)]
    return mask.step({"step": "rotate mask", "from": mask.coord, "to": coord}, weights=weights, coord=coord)
