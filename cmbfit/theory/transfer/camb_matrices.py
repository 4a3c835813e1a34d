"""The matrices W of C_l = W P(k), read from CAMB's transfer functions.

D_l^XY = (l(l+1)/2pi) 4pi int dlnk P(k) Delta_l^X(k) Delta_l^Y(k), with CAMB's own wavenumbers and
trapezoidal weights, so that W P is CAMB's own unlensed spectrum to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import camb
import numpy as np

from cmbfit.errors import ConfigError, ParameterError
from cmbfit.theory.camb_code import PRESETS, CambSettings, camb_parameters

PAIRS = {"scalar": ("tt", "te", "ee", "pp"), "tensor": ("tt", "te", "ee", "bb")}
_ROWS = 128  # multipoles at a time: transfer functions are gigabytes


@dataclass(frozen=True)
class TransferSettings:
    """What defines the matrices besides the cosmology.

    Parameters
    ----------
    camb : CambSettings
        Recombination, neutrinos, accuracy. CAMB computes 200 multipoles beyond `camb.lmax`, and so do the matrices.
        Lensing wants 1200 more than the last lensed multipole.
    l_sampling : float
        CAMB's lSampleBoost: 50 is every multipole (3 minutes); 3 and 8 give 290 and 630 of 4100.
    k_sampling : float
        CAMB's IntkAccuracyBoost: 1 errs by 2e-3 even for a power law (low-l EE), 2 by 4e-4, 4 by 8e-5.
    kind : {"scalar", "tensor"}
    """

    camb: CambSettings = field(default_factory=lambda: replace(PRESETS["planck2018"], lmax=3600))
    l_sampling: float = 50.0
    k_sampling: float = 4.0
    kind: str = "scalar"

    def __post_init__(self) -> None:
        if self.kind not in PAIRS:
            raise ConfigError(f"kind: expected scalar or tensor, found {self.kind!r}")
        if self.l_sampling < 1 or self.k_sampling < 1:
            raise ConfigError(f"l_sampling and k_sampling are at least 1, found {self}")


@dataclass(frozen=True)
class CambTransfer:
    """CAMB's transfer functions at one background.

    Attributes
    ----------
    ell : numpy.ndarray, shape (n_ell,)
    q : numpy.ndarray, shape (n_q,)
        Wavenumbers [1/Mpc].
    distance : float
        Comoving distance to last scattering, r_*/theta_* [Mpc].
    """

    ell: np.ndarray
    q: np.ndarray
    distance: float
    settings: TransferSettings
    _delta: np.ndarray  # shape: (source, n_ell, n_q)

    def blocks(self) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Yield the rows of a few multipoles at a time: pair to D_l [uK^2] per unit P(q), shape (rows, n_q).

        `pp` is [L(L+1)]^2 C_L / 2pi per unit P. CAMB's potential carries the non-linear correction of its
        fiducial power law.
        """
        for start in range(0, len(self.ell), _ROWS):
            rows = slice(start, start + _ROWS)
            yield rows, self._rows(rows)

    def _rows(self, rows: slice) -> dict[str, np.ndarray]:
        l = self.ell[rows, None].astype(float)
        q = self.q
        width = np.gradient(q)
        width[1:-1] = (q[2:] - q[:-2]) / 2
        width[[0, -1]] /= 2
        spin = np.sqrt((l - 1) * l * (l + 1) * (l + 2))  # spin-2 factor that CAMB leaves out
        unit = width / q * (1e6 * self.settings.camb.tcmb) ** 2
        first, second, third = self._delta[:, rows]
        if self.settings.kind == "scalar":
            unit = 2 * l * (l + 1) * unit
            polarised = second * spin
            potential = 2 * (l * (l + 1)) ** 2 * width / q
            return {
                "tt": unit * first**2,
                "te": unit * first * polarised,
                "ee": unit * polarised**2,
                "pp": potential * third**2,
            }
        unit = l * (l + 1) / 8 * unit
        temperature = first * spin
        return {
            "tt": unit * temperature**2,
            "te": unit * temperature * second,
            "ee": unit * second**2,
            "bb": unit * third**2,
        }


def camb_transfer(settings: TransferSettings, background: Mapping[str, float]) -> CambTransfer:
    """Run CAMB's transfer functions at one flat background.

    Parameters
    ----------
    settings : TransferSettings
    background : mapping
        ombh2, omch2, theta_mc or H0, tau; logA and ns only set the non-linear correction of `pp`.

    Raises
    ------
    ParameterError
        For a curved background (its wavenumbers are discrete), or if CAMB fails.
    """
    if background.get("omk", 0.0) != 0:
        raise ParameterError(f"transfer functions: expected a flat background, found omk={background['omk']}")
    pars = camb_parameters(settings.camb, **background)
    # unlensed spectra need no more than they hand out, and the matrices' size is the cost
    pars.set_for_lmax(settings.camb.lmax, lens_potential_accuracy=settings.camb.lens_potential_accuracy)
    pars.set_accuracy(
        AccuracyBoost=settings.camb.accuracy_boost,
        lAccuracyBoost=settings.camb.l_accuracy_boost,
        lSampleBoost=settings.l_sampling,
    )
    pars.Accuracy.IntkAccuracyBoost = settings.k_sampling
    if settings.kind == "tensor":
        pars.WantTensors, pars.WantScalars = True, False
        pars.max_l_tensor = settings.camb.lmax
        # CAMB's own ratio; below 1200 CAMB 2.0.5 stops the process ("thermo out of bounds")
        pars.max_eta_k_tensor = max(pars.max_eta_k_tensor, 2.0 * settings.camb.lmax)
    try:
        data = camb.get_transfer_functions(pars)
        got = data.get_cmb_transfer_data(settings.kind)
        derived = data.get_derived_params()
    except camb.baseconfig.CAMBError as error:
        raise ParameterError(f"CAMB failed at {dict(background)}: {error}") from error
    distance = 100 * derived["rstar"] / derived["thetastar"]
    return CambTransfer(np.array(got.L), np.array(got.q), float(distance), settings, got.delta_p_l_k)
