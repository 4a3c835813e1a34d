"""Low-l TT of the WMAP 7-year maps that cmbfit carries: V band, V - W and the Galactic slab marginalised.

The maps (nside 32, Jarosik et al. 2011, arXiv:1001.4744) are not cleaned of foregrounds. V - W holds no CMB and
takes out foregrounds that fall or rise from 61 to 94 GHz alike; the cosecant of Galactic latitude takes out
what a plane-parallel Galaxy leaves outside the mask, whatever its spectrum. Both amplitudes are
marginalised, as are monopole and dipole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmbfit import data
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.pixel.averages import Averages, averaging_window, scaled_cl
from cmbfit.likelihood.pixel.harmonics import mode_ell
from cmbfit.likelihood.pixel.likelihood import PixelLikelihood
from cmbfit.likelihood.pixel.noise import dense_noise
from cmbfit.likelihood.pixel.summary import summarise
from cmbfit.sky import Mask, StokesMap, gaussian_beam, read_mask, read_stokes
from cmbfit.sky.maps import Array, check_together, unit_vectors
from cmbfit.theory.base import point_from_values
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.spectra import Spectra

MAP = "wmap7/wmap_band_iqumap_r9_7yr_{}_v4_udgraded32.fits"
MASK = "wmap7/wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits"
FWHM_ARCMIN = {"V": 21.0, "W": 13.2}
# Planck 2018 TT,TE,EE+lowE (Planck Collaboration VI 2020, table 2): power above the varied multipoles
FIDUCIAL = {"ombh2": 0.02236, "omch2": 0.1202, "theta_mc": 1.0409, "tau": 0.0544, "logA": 3.045, "ns": 0.9649}


@dataclass(frozen=True)
class LowlSettings:
    """How maps become a low-l data vector.

    Attributes
    ----------
    nside : int
        Of the averages.
    lmin, lmax : int
        Varied multipoles.
    top : int
        Signal is counted up to here; the rest of the pixel window of nside 32 lets through 0.1% of the variance.
    min_fraction : float
        Smallest unmasked fraction of an averaged pixel.
    templates : tuple of str
        Among "V-W" and "csc|b|"; monopole and dipole always.
    csc_floor : float
        |sin b| below it counts as this.
    """

    nside: int = 16
    lmin: int = 2
    lmax: int = 29
    top: int = 400
    min_fraction: float = 0.25
    templates: tuple[str, ...] = ("V-W", "csc|b|")
    csc_floor: float = 0.1


@dataclass(frozen=True, eq=False)
class LowlSky:
    """A low-l temperature data vector with everything that its likelihood needs.

    Attributes
    ----------
    averages : Averages
    data : ndarray, shape (n,)
        uK.
    templates : dict of str to ndarray, shape (n,)
        Name to template, monopole and dipole first.
    noise_variance : ndarray, shape (n,)
        Instrument noise, uK^2.
    window : ndarray, shape (top + 1,)
        Beam times window of the fine pixels.
    settings : LowlSettings
    """

    averages: Averages
    data: Array
    templates: dict[str, Array]
    noise_variance: Array
    window: Array
    settings: LowlSettings

    def likelihood(
        self, info: DataSetInfo, fiducial: Spectra, files: Mapping[str, str] | None = None
    ) -> PixelLikelihood:
        """Return the likelihood of D_l^TT from lmin to lmax; above, the power is the fiducial's."""
        s = self.settings
        dl = {"tt": fiducial.dl["tt"][0].detach().cpu().numpy()}
        above = self.averages.covariance(scaled_cl(dl, s.lmax + 1, s.top, self.window))
        summary = summarise(
            self.data,
            self.averages.modes(s.lmin, s.lmax, self.window),
            mode_ell(s.lmin, s.lmax),
            "t",
            dense_noise(above + np.diag(self.noise_variance)),
            np.column_stack(list(self.templates.values())),
        )
        return PixelLikelihood(info, summary, {"tt": (s.lmin, s.lmax)}, files=files)

    def covariance(self, fiducial: Spectra) -> Array:
        """Return the total covariance of the data vector at a model, shape (n, n)."""
        dl = {"tt": fiducial.dl["tt"][0].detach().cpu().numpy()}
        signal = self.averages.covariance(scaled_cl(dl, self.settings.lmin, self.settings.top, self.window))
        return signal + np.diag(self.noise_variance)


def lowl_sky(v: StokesMap, w: StokesMap, mask: Mask, settings: LowlSettings | None = None) -> LowlSky:
    """Return the low-l data vector of the V map with V - W as template.

    The noise of V per fine pixel is taken as half the variance of V - W within averaged pixels (the two
    bands' noise differs by less than a factor of two, and point sources add to it): an upper bound near 4 uK,
    where CMB fluctuations are 60 uK.

    Raises
    ------
    MapError
        If maps and mask do not share nside and coordinates, or too little sky is left.
    """
    settings = settings or LowlSettings()
    check_together(v, mask)
    check_together(w, mask)
    averages = Averages.under(mask, settings.nside, settings.min_fraction)
    difference = v.i - w.i
    whole = (averages.weights > 0).all(axis=1)
    scatter = difference[averages.children[whole]].var(axis=1, ddof=1).mean()
    axes = unit_vectors(mask.nside)
    fields = {"monopole": np.ones(len(axes)), "dipole x": axes[:, 0], "dipole y": axes[:, 1]}
    fields["dipole z"] = axes[:, 2]
    extra = {"V-W": difference, "csc|b|": 1 / np.maximum(np.abs(axes[:, 2]), settings.csc_floor)}
    fields |= {name: extra[name] for name in settings.templates}
    beam = gaussian_beam(settings.top, FWHM_ARCMIN["V"])
    return LowlSky(
        averages=averages,
        data=averages.of(v.i),
        templates={name: averages.of(x) for name, x in fields.items()},
        noise_variance=0.5 * scatter * (averages.weights**2).sum(axis=1),
        window=averaging_window(mask.nside, settings.top) * beam,
        settings=settings,
    )


def read_wmap7() -> tuple[StokesMap, StokesMap, Mask]:
    """Return the registered V and W maps and the temperature analysis mask."""

    def path(name: str) -> Path:
        return data.fetch(name)

    maps = [read_stokes(path(MAP.format(band)), name=band, unit="mK", coord="G") for band in "VW"]
    return maps[0], maps[1], read_mask(path(MASK), name="KQ85", coord="G")


def fiducial_spectra() -> Spectra:
    """Return the model of :data:`FIDUCIAL`, from the shipped emulator."""
    theory = load_emulator("lcdm_planck2018")
    return theory.spectra(point_from_values(theory, FIDUCIAL))
