"""Masks: a binary mask from weights, and apodisation by the distance to the nearest hole."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from cmbfit.errors import MapError
from cmbfit.sky.harmonic import alm2map, map2alm, scale_alm
from cmbfit.sky.maps import Array, Mask


def binary(mask: Mask, threshold: float = 0.5) -> Mask:
    """Return weights 1 where the weight reaches `threshold` and 0 elsewhere."""
    weights = (mask.weights >= threshold).astype(np.float64)
    return mask.step({"step": "binary mask", "threshold": threshold}, weights=weights)


def distance_to_hole(mask: Mask, max_deg: float | None = None) -> Array:
    """Return the angle (radians) from each pixel centre to the nearest pixel centre of weight zero.

    Beyond the edge of a grid that is a part of the sky everything is a hole.
    Infinite when there is none, and beyond `max_deg` when it is given. Shape (npix,).

    The nearest hole always lies on the rim of the holes (a hole surrounded by holes has a neighbour
    that is nearer), so only rim pixels enter the tree and only kept pixels ask it: at nside 512
    twenty times fewer points than all holes against all pixels.
    """
    out = np.full(mask.weights.size, np.inf)
    holes, outside = np.flatnonzero(~mask.support), mask.grid.outside()
    if holes.size == 0 and len(outside) == 0:
        return out
    out[holes] = 0.0
    neighbours = mask.grid.neighbours(holes)  # (8, n), -1 where there is none
    rim = holes[((neighbours >= 0) & mask.support[neighbours]).any(axis=0)]
    vectors = mask.grid.vectors()
    kept = np.flatnonzero(mask.support)
    bound = np.inf if max_deg is None else 2 * np.sin(np.radians(min(max_deg, 180.0)) / 2) * (1 + 1e-12)
    chord, _ = cKDTree(np.concatenate([vectors[rim], outside])).query(
        vectors[kept], distance_upper_bound=bound
    )
    near = np.isfinite(chord)
    out[kept[near]] = 2 * np.arcsin(np.clip(chord[near] / 2, 0, 1))
    return out


def apodise(mask: Mask, radius_deg: float, kind: str = "C2") -> Mask:
    """Taper a mask to zero within `radius_deg` of its holes.

    With x = sqrt((1 - cos theta) / (1 - cos theta_*)) < 1, the weight is multiplied by
    x - sin(2 pi x) / (2 pi) (C1) or (1 - cos pi x) / 2 (C2): Grain, Tristram & Stompor 2009
    (arXiv:0903.2350), eqs. 28-29. "smooth" cuts everything nearer than theta_* / 2 to a hole,
    smooths with a Gaussian of sigma = theta_* / 5 and keeps the holes at zero: the weight crosses 1/2
    at theta_* / 2 and reaches 0.994 at theta_*; along a straight edge it starts with a step of 0.006.

    Parameters
    ----------
    radius_deg : float
        theta_* in degrees; 0 leaves the mask as it is.
    kind : {"C1", "C2", "smooth"}
    """
    if kind not in {"C1", "C2", "smooth"}:
        raise MapError(f"apodisation {kind!r}: expected 'C1', 'C2' or 'smooth'")
    if not 0 <= radius_deg < 90:
        raise MapError(f"apodisation radius {radius_deg} deg: expected 0 to 90")
    record = {"step": "apodise", "kind": kind, "radius_deg": radius_deg}
    if radius_deg == 0:
        return mask.step(record)
    theta_star = np.radians(radius_deg)
    if kind == "smooth":
        taper = _smooth_taper(mask, theta_star)
    else:
        taper = grain_taper(distance_to_hole(mask, radius_deg), theta_star, kind)
    return mask.step(record, weights=np.clip(mask.weights * taper, 0.0, 1.0))


def grain_taper(theta: Array, theta_star: float, kind: str) -> Array:
    """Return the C1 or C2 weight at distances `theta` from the nearest hole; angles in radians, see :func:`apodise`."""
    x = np.sin(np.clip(theta, 0, theta_star) / 2) / np.sin(theta_star / 2)
    return x - np.sin(2 * np.pi * x) / (2 * np.pi) if kind == "C1" else (1 - np.cos(np.pi * x)) / 2


def _smooth_taper(mask: Mask, theta_star: float) -> Array:
    grid = mask.grid
    pixel = np.sqrt(np.mean(grid.pixel_area))
    if theta_star < 5 * pixel:
        raise MapError(
            f"smooth apodisation over {np.degrees(theta_star):g} deg: the Gaussian would be narrower than a pixel; "
            f"expected at least {np.degrees(5 * pixel):.3g} deg at {grid.name}, or C1, C2"
        )
    shrunk = (distance_to_hole(mask, np.degrees(theta_star)) > theta_star / 2).astype(np.float64)
    sigma = theta_star / 5
    lmax = min(grid.lmax, round(7 / sigma))  # exp(-7^2 / 2) = 2e-11
    ell = np.arange(lmax + 1)
    found = map2alm(shrunk[None], lmax, 0, grid.refinements(1), grid=grid)
    alm = scale_alm(found, np.exp(-0.5 * ell * (ell + 1) * sigma**2))
    return np.clip(alm2map(alm, grid, 0)[0], 0.0, 1.0)


def moments(mask: Mask, highest: int = 4) -> dict[str, float]:
    """Return the sky fractions that a referee asks for.

    Keys: `w1` ... `w<highest>` = <w^k>; `support`, the fraction with any weight; `fsky_modes` =
    <w^2>^2 / <w^4>, the effective fraction for variances of power spectra (Hivon et al. 2002, eq. 17).
    """
    out = {f"w{k}": mask.moment(k) for k in range(1, highest + 1)}
    return out | {"support": mask.grid.mean(mask.support), "fsky_modes": mask.fsky_modes}
