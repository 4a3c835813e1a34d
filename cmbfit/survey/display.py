"""A survey's maps as an eye can take them in: cleaned, masked, smoothed, coarse."""

from __future__ import annotations

import numpy as np

from cmbfit.sky.harmonic import alm2stokes, change_lmax, scale_alm
from cmbfit.sky.maps import StokesMap
from cmbfit.sky.windows import gaussian_beam
from cmbfit.spectra.multi import mean_alms
from cmbfit.survey.fields import SurveyField


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
