"""Masks: a binary mask from weights, and apodisation by the distance to the nearest hole."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from cmbfit.errors import MapError
from cmbfit.sky.maps import Array, Mask, unit_vectors


def binary(mask: Mask, threshold: float = 0.5) -> Mask:
    """Return weights 1 where the weight reaches `threshold` and 0 elsewhere."""
    weights = (mask.weights >= threshold).astype(np.float64)
    return mask.step({"step": "binary mask", "threshold": threshold}, weights=weights)


def distance_to_hole(mask: Mask) -> Array:
    """Return the angle (radians) from each pixel centre to the nearest pixel of weight zero.

    Infinite when the mask has no hole. Shape (npix,).
    """
    holes = ~mask.support
    if not holes.any():
        return np.full(mask.weights.size, np.inf)
    vectors = unit_vectors(mask.nside)
    chord, _ = cKDTree(vectors[holes]).query(vectors)
    return 2 * np.arcsin(np.clip(chord / 2, 0, 1))


def apodise(mask: Mask, radius_deg: float, kind: str = "C2") -> Mask:
    """Taper a mask to zero within `radius_deg` of its holes.

    With x = sqrt((1 - cos theta) / (1 - cos theta_*)) < 1, the weight is multiplied by
    x - sin(2 pi x) / (2 pi) (C1) or (1 - cos pi x) / 2 (C2): Grain, Tristram & Stompor 2009
    (arXiv:0903.2350), eqs. 28-29.

    Parameters
    ----------
    radius_deg : float
        theta_* in degrees; 0 leaves the mask as it is.
    kind : {"C1", "C2"}
    """
    if kind not in {"C1", "C2"}:
        raise MapError(f"apodisation {kind!r}: expected 'C1' or 'C2'")
    if not 0 <= radius_deg < 90:
        raise MapError(f"apodisation radius {radius_deg} deg: expected 0 to 90")
    record = {"step": "apodise", "kind": kind, "radius_deg": radius_deg}
    if radius_deg == 0:
        return mask.step(record)
    theta = distance_to_hole(mask)
    theta_star = np.radians(radius_deg)
    x = np.sin(np.minimum(theta, theta_star) / 2) / np.sin(theta_star / 2)
    taper = x - np.sin(2 * np.pi * x) / (2 * np.pi) if kind == "C1" else (1 - np.cos(np.pi * x)) / 2
    return mask.step(record, weights=np.clip(mask.weights * taper, 0.0, 1.0))
