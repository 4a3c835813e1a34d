"""What is done to a map before its spectrum is taken; each step is recorded in the map's history."""

from __future__ import annotations

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.maps import PIECE, Array, Mask, StokesMap, check_together, projected
from cmbfit.sky.quality import require_plausible

MONOPOLE_DIPOLE = "remove monopole and dipole"
"""The step's name in a map's history."""


def require_data(stokes: StokesMap, mask: Mask) -> None:
    """Raise :class:`MapError` when a pixel that the mask keeps has no data in I, Q or U, or a value that no sky has."""
    check_together(stokes, mask)
    bad = stokes.missing & mask.support
    if bad.any():
        pixels = np.flatnonzero(bad)
        raise MapError(
            f"map {stokes.name!r}: {pixels.size} pixels with NaN or UNSEEN lie where mask {mask.name!r} is above "
            f"zero (RING pixels {pixels[:5].tolist()}...): set the mask to zero there"
        )
    require_plausible(stokes, mask.support, f"where mask {mask.name!r} is above zero")


def cut_to_mask(stokes: StokesMap, mask: Mask) -> StokesMap:
    """Set the pixels outside the mask's support to NaN; the weights themselves are not applied.

    Weights enter once, in the transform (:func:`cmbfit.spectra.transforms.masked_alms`).
    """
    require_data(stokes, mask)
    keep = mask.support
    record = {"step": "cut to mask", "mask": mask.name, "fsky": mask.fsky, "pixels_kept": int(keep.sum())}
    i, q, u = (np.where(keep, x, np.nan) for x in stokes.iqu)
    return stokes.step(record, i=i, q=q, u=u)


def fit_monopole_dipole(values: Array, mask: Mask) -> tuple[Array, Array]:
    """Fit a monopole and a dipole by least squares with the mask's weights.

    Minimises sum_p w_p (m_p - c_0 - c . n_p)^2. This is not the plain mean: on a cut sky the four
    templates are not orthogonal.

    Parameters
    ----------
    values : ndarray, shape (npix,)
        RING; only pixels with a weight above zero are used.

    Returns
    -------
    coefficients : ndarray, shape (4,)
        Monopole and the three dipole components along x, y, z, in the unit of `values`.
    covariance : ndarray, shape (4, 4)
        Of the coefficients, from the scatter of the residuals taken as independent between pixels.
        CMB fluctuations are correlated, so this is a lower limit.
    """
    keep = mask.support
    if keep.sum() <= 4:
        raise MapError(f"mask {mask.name!r}: {int(keep.sum())} pixels cannot fix a monopole and a dipole")
    w, m = mask.weights[keep] * mask.grid.relative_area(keep), values[keep]
    if not np.isfinite(m).all():
        raise MapError("monopole and dipole: non-finite pixels under the mask's support")
    pixels = np.flatnonzero(keep)
    pieces = [slice(k, k + PIECE) for k in range(0, pixels.size, PIECE)]

    def design(piece: slice) -> Array:
        return np.column_stack([np.ones(pixels[piece].size), *mask.grid.vectors(pixels[piece]).T])

    normal, rhs, middle = np.zeros((4, 4)), np.zeros(4), np.zeros((4, 4))
    for piece in pieces:
        a = design(piece)
        normal += a.T @ (w[piece, None] * a)
        rhs += a.T @ (w[piece] * m[piece])
    coefficients = np.linalg.solve(normal, rhs)
    for piece in pieces:
        a = design(piece)
        middle += a.T @ ((w[piece] * (m[piece] - a @ coefficients))[:, None] ** 2 * a)
    inverse = np.linalg.inv(normal)
    covariance = inverse @ middle @ inverse
    return np.asarray(coefficients, dtype=np.float64), np.asarray(covariance, dtype=np.float64)


def remove_monopole_dipole(stokes: StokesMap, mask: Mask) -> StokesMap:
    """Subtract the fitted monopole and dipole from I (Q and U have none).

    On a cut sky the fit takes power of the sky with it: a field of such maps has
    ``filters=monopole_dipole(mask)`` (:func:`cmbfit.spectra.templates.monopole_dipole`), and its windows know.
    The history record holds the coefficients and their errors in uK_CMB.
    """
    require_data(stokes, mask)
    c, covariance = fit_monopole_dipole(stokes.i, mask)
    error = np.sqrt(np.diag(covariance))
    record = {
        "step": MONOPOLE_DIPOLE,
        "mask": mask.name,
        "weights": "mask",
        "monopole_uk": float(c[0]),
        "dipole_xyz_uk": c[1:].tolist(),
        "monopole_error_uk": float(error[0]),
        "dipole_error_uk": error[1:].tolist(),
    }
    return stokes.step(record, i=stokes.i - (c[0] + projected(stokes.grid, c[1:])))
