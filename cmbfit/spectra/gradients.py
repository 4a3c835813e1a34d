"""Products of masks and of their gradients: the weights with which fields enter a covariance."""

from __future__ import annotations

import ducc0
import numpy as np

from cmbfit.sky.maps import Array
from cmbfit.spectra.transforms import _geometry, map2alm


def gradient(weights: Array, lmax: int) -> Array:
    """Return (d/d theta, 1/sin(theta) d/d phi) of a map, band-limited at lmax and 2 nside, shape (2, npix).

    Above 2 nside pixel sums alias, and a derivative amplifies that. The plain pixel sum of :func:`~cmbfit.spectra.transforms.map2alm` is refined by three Jacobi
    iterations, since a gradient weighs the small scales of the map.
    """
    nside = round((weights.size / 12) ** 0.5)
    lmax = min(lmax, 2 * nside)
    alm = map2alm(weights[None], lmax, 0, n_iter=3)
    return ducc0.sht.synthesis(alm=alm, lmax=lmax, spin=1, mode="DERIV1", **_geometry(nside))


def gradient_product(one: Array, two: Array) -> Array:
    """Return grad(one) . grad(two) of two gradients, shape (npix,)."""
    return np.asarray((one * two).sum(axis=0))
