"""Noise spectra of a pair of maps from their own auto-spectra."""

from __future__ import annotations

import numpy as np

from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import Bins


def noise_from_auto(auto: Array, reference: Array, bins: Bins, w2: float) -> Array:
    """Return a smooth noise C_l from an auto pseudo-spectrum minus a signal pseudo-spectrum.

    The difference is averaged with weight 2 l + 1 in each bin, made non-negative, divided by <w^2>
    and interpolated between bin centres: single multipoles scatter too much to weigh data with.

    Parameters
    ----------
    auto, reference : ndarray, shape (lmax + 1,)
        Pseudo-C_l in uK^2. For temperature the reference is the cross-spectrum of the two maps,
        which holds this sky's own signal; for noise-dominated polarisation it is the coupled
        fiducial theory, because the scatter of the cross-spectrum is as large as the noise.
    bins : Bins
        Must reach lmax (use :meth:`Bins.padded`).
    w2 : float
        <w^2> of the mask.

    Returns
    -------
    ndarray, shape (lmax + 1,)
    """
    lmax = auto.size - 1
    ell = np.arange(lmax + 1)
    weight = bins.indicator(lmax) * (2 * ell + 1)
    level = np.clip(weight @ (auto - reference) / weight.sum(axis=1) / w2, 0.0, None)
    noise = np.interp(ell, bins.centres, level)
    noise[:2] = 0.0
    return noise
