"""A survey's maps as an eye can take them in: cleaned, masked, smoothed, coarse."""

from __future__ import annotations

import numpy as np

from cmbfit.sky.car import Car
from cmbfit.sky.harmonic import alm2stokes, change_lmax, scale_alm
from cmbfit.sky.maps import Mask, StokesMap
from cmbfit.sky.pixelisation import Healpix
from cmbfit.sky.resolution import degrade_mask
from cmbfit.sky.windows import gaussian_beam
from cmbfit.spectra.multi import mean_alms
from cmbfit.survey.fields import SurveyField


def shown_mask(mask: Mask, nside: int) -> Mask:
    """Return the weights on coarse HEALPix pixels: their mean, or on a CAR grid the weight at the pixel's centre."""
    if isinstance(mask.grid, Healpix):
        return degrade_mask(mask, nside, None)
    assert isinstance(mask.grid, Car)  # noqa: S101 (there is no third grid)
    at = mask.grid.pixels_at(Healpix(nside).vectors())
    record = {"step": "show on HEALPix pixels", "nside": nside}
    weights = np.where(at >= 0, mask.weights[at], 0.0)
    return Mask(weights, mask.coord, mask.name, (*mask.history, record))


def smoothed_map(one: SurveyField, nside: int, fwhm_arcmin: float = 60.0) -> StokesMap:
    """Return the mean of the cleaned splits times the mask, smoothed, in uK_CMB.

    The weights of the mask are in the map: towards its edges the map goes to zero.
    """
    alms = mean_alms(one.cleaned())
    lmax = min(alms.lmax, 3 * nside - 1)
    teb = change_lmax(np.stack([alms.t, alms.e, alms.b]), lmax)
    beam = gaussian_beam(lmax, fwhm_arcmin)
    i, q, u = alm2stokes(np.stack([scale_alm(a, beam) for a in teb]), nside)
    record = {"step": "smooth for display", "fwhm_arcmin": fwhm_arcmin, "nside": nside}
    return StokesMap(i, q, u, coord=one.field.mask.coord, name=one.field.name, history=(record,))
