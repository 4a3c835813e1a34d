"""CAMB behind the Theory interface, with every setting that moves chi2 pinned and recorded.

The preset `planck2018` follows the Planck 2018 analyses (but for a converged lensing potential and
N_eff = 3.044, where they had 3.046): RECFAST with the Planck-era fudge factors,
HMcode 2016, PArthENoPE BBN helium, one 0.06 eV neutrino. CAMB 2's own defaults (another
recombination, another HMcode) move plik-lite's chi2 by several units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import camb
import numpy as np
import torch

from cmbfit.errors import ConfigError, ParameterError
from cmbfit.theory.base import check_box
from cmbfit.theory.parameters import DERIVED, FIXED, LCDM
from cmbfit.theory.spectra import Spectra

CAMB_COLUMNS = ("tt", "ee", "bb", "te")  # the order of CAMB's total spectra

BOX: dict[str, tuple[float, float]] = {  # where CAMB's fits (helium table, RECFAST, HMcode) are meant to hold
    "ombh2": (0.005, 0.04),
    "omch2": (0.01, 0.4),
    "theta_mc": (0.9, 1.2),
    "tau": (0.01, 0.4),
    "logA": (1.5, 4.5),
    "ns": (0.7, 1.3),
}


@dataclass(frozen=True)
class CambSettings:
    """Everything beyond the six parameters that defines CAMB's numbers.

    Parameters
    ----------
    lmax : int
        Largest multipole handed out. CAMB computes 200 more for lensing's sake.
    lens_potential_accuracy : float
        4 is converged to 0.2% in the lensing potential at l < 2000; 1 is what Planck 2018 used and
        is 5% off there; 0 is wrong by half a cosmic-variance sigma in TT and is refused.
    recombination, recfast_approximation, halofit, bbn_table : str
        CAMB's names of the models.
    mnu, nnu, tcmb : float
        Neutrino mass sum [eV] (one massive state), N_eff, monopole temperature [K].
    accuracy_boost, l_accuracy_boost : float
        CAMB's AccuracyBoost and lAccuracyBoost.
    """

    lmax: int = 2600
    lens_potential_accuracy: float = 4.0
    recombination: str = "Recfast"
    recfast_approximation: str = "planck"
    halofit: str = "mead2016"
    bbn_table: str = "PArthENoPE_880.2_standard.dat"
    mnu: float = FIXED["mnu"]
    nnu: float = FIXED["nnu"]
    tcmb: float = 2.7255
    accuracy_boost: float = 1.0
    l_accuracy_boost: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= self.lmax <= 12000:
            raise ConfigError(f"lmax: expected 2..12000, found {self.lmax}")
        if self.lens_potential_accuracy < 1:
            raise ConfigError(
                f"lens_potential_accuracy: expected >= 1, found {self.lens_potential_accuracy} "
                "(0 errs by half a cosmic-variance sigma in TT)"
            )


PRESETS: dict[str, CambSettings] = {
    "planck2018": CambSettings(),
    # for ACT and SPT: recombination as CosmoRec has it (ACT DR6's choice), and the lensing potential as
    # far as CAMB's own rule for this lmax asks: within 0.03 sigma_CV of lens_potential_accuracy 12 up to
    # l = 4000, 0.18 up to 5000
    "high": CambSettings(lmax=5000, lens_potential_accuracy=7.0, recfast_approximation="cosmorec"),
}


def camb_parameters(
    settings: CambSettings,
    *,
    ombh2: float,
    omch2: float,
    tau: float,
    theta_mc: float | None = None,
    H0: float | None = None,
    logA: float = 3.044,
    ns: float = 0.9649,
) -> camb.CAMBparams:
    """Return CAMB's parameter object for one point of flat LCDM.

    Raises
    ------
    ParameterError
        If CAMB refuses the point (no H0 gives this angle, helium table left, ...).
    """
    try:
        pars = camb.set_params(
            ombh2=ombh2,
            omch2=omch2,
            cosmomc_theta=None if theta_mc is None else theta_mc / 100,
            H0=H0,
            tau=tau,
            mnu=settings.mnu,
            nnu=settings.nnu,
            num_massive_neutrinos=1,
            TCMB=settings.tcmb,
            bbn_predictor=settings.bbn_table,
            As=math.exp(logA) * 1e-10,
            ns=ns,
            recombination_model=settings.recombination,
            recfast_approx_model=settings.recfast_approximation,
            halofit_version=settings.halofit,
            lmax=settings.lmax,
            lens_potential_accuracy=settings.lens_potential_accuracy,
        )
    except camb.baseconfig.CAMBError as error:
        raise ParameterError(
            f"CAMB refuses ombh2={ombh2}, omch2={omch2}, theta_mc={theta_mc}, H0={H0}: {error}"
        ) from error
    pars.set_accuracy(AccuracyBoost=settings.accuracy_boost, lAccuracyBoost=settings.l_accuracy_boost)
    return pars


def theta_mc_from_h0(H0: float, ombh2: float, omch2: float, settings: CambSettings | None = None) -> float:
    """Return 100 theta_MC of a flat model with Hubble constant `H0` [km/s/Mpc]."""
    if not 20 <= H0 <= 150:
        raise ParameterError(f"H0: expected km/s/Mpc between 20 and 150, found {H0:g}")
    pars = camb_parameters(settings or PRESETS["planck2018"], ombh2=ombh2, omch2=omch2, tau=0.05, H0=H0)
    return 100 * camb.get_background(pars, no_thermo=True).cosmomc_theta()


def _derived(
    pars: camb.CAMBparams, data: camb.CAMBdata, linear: camb.CAMBdata, logA: float, ns: float
) -> dict[str, float]:
    primordial = camb.InitialPowerLaw()
    primordial.set_params(As=math.exp(logA) * 1e-10, ns=ns)
    linear.power_spectra_from_transfer(primordial)  # linear: sigma8 needs no other recomputation
    sigma8 = float(linear.get_sigma8_0())
    background = data.get_derived_params()
    omegam = (pars.ombh2 + pars.omch2 + pars.omnuh2) / pars.h**2
    values = {
        "H0": pars.H0,
        "omegam": omegam,
        "sigma8": sigma8,
        "S8": sigma8 * math.sqrt(omegam / 0.3),
        "thetastar": background["thetastar"],
        "rdrag": background["rdrag"],
        "age": background["age"],
        "zrei": float(camb.get_zre_from_tau(pars, pars.Reion.optical_depth)),
    }
    return {name: float(values[name]) for name in DERIVED}


def _linear_matter(pars: camb.CAMBparams) -> camb.CAMBdata:
    """Linear matter transfer functions today, for sigma8 alone (0.5 s)."""
    matter = pars.copy()
    matter.WantCls = False
    matter.WantTransfer = True
    matter.NonLinear = camb.model.NonLinear_none
    matter.set_matter_power(redshifts=[0.0], kmax=1.2, silent=True)
    return camb.get_transfer_functions(matter)


def spectra_of_one_background(
    settings: CambSettings,
    background: Mapping[str, float],
    primordial: Sequence[tuple[float, float]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute spectra for several (logA, ns) draws on one background.

    The time sources (most of the work) are computed once; each further draw costs a quarter and is
    bit-identical to a fresh run.

    Parameters
    ----------
    settings : CambSettings
    background : mapping
        ombh2, omch2, theta_mc, tau.
    primordial : sequence of (logA, ns)

    Returns
    -------
    dl : numpy.ndarray, shape (n_draws, 5, lmax + 1)
        Lensed D_l [uK^2] of tt, te, ee, bb and [L(L+1)]^2 C_L^pp / 2pi, l from 0.
    unlensed : numpy.ndarray, shape (n_draws, 3, lmax + 1)
        Unlensed D_l [uK^2] of tt, te, ee.
    derived : numpy.ndarray, shape (n_draws, len(DERIVED))

    Raises
    ------
    ParameterError
        If CAMB fails at this point.
    """
    pars = camb_parameters(settings, **background)
    try:
        data = camb.get_transfer_functions(pars, only_time_sources=True)
        linear = _linear_matter(pars)
        dl = np.empty((len(primordial), 5, settings.lmax + 1))
        unlensed = np.empty((len(primordial), 3, settings.lmax + 1))
        derived = np.empty((len(primordial), len(DERIVED)))
        for i, (logA, ns) in enumerate(primordial):
            # on data.Params and without an argument: passing parameters recomputes the sources
            data.Params.InitPower.set_params(As=math.exp(logA) * 1e-10, ns=ns)
            data.calc_power_spectra()
            got = data.get_cmb_power_spectra(
                CMB_unit="muK",
                spectra=["total", "unlensed_scalar", "lens_potential"],
                lmax=settings.lmax,
            )
            total = dict(zip(CAMB_COLUMNS, got["total"].T, strict=True))
            dl[i] = [total["tt"], total["te"], total["ee"], total["bb"], got["lens_potential"][:, 0]]
            bare = dict(zip(CAMB_COLUMNS, got["unlensed_scalar"].T, strict=True))
            unlensed[i] = [bare["tt"], bare["te"], bare["ee"]]
            derived[i] = list(_derived(pars, data, linear, logA, ns).values())
    except camb.baseconfig.CAMBError as error:
        raise ParameterError(f"CAMB failed at {dict(background)}: {error}") from error
    if not all(np.isfinite(x).all() for x in (dl, unlensed, derived)):
        raise ParameterError(f"CAMB gave non-finite spectra at {dict(background)}")
    return dl, unlensed, derived


class CambTheory:
    """Flat LCDM by CAMB, one point after the other (seconds each).

    Parameters
    ----------
    settings : CambSettings, optional
        Default: the `planck2018` preset.

    Examples
    --------
    >>> theory = CambTheory(CambSettings(lmax=600))
    >>> point = torch.tensor([[0.02237, 0.12, 1.0409, 0.0544, 3.044, 0.9649]], dtype=torch.float64)
    >>> round(theory.spectra(point).dl["tt"][0, 220].item(), -1)
    5730.0
    """

    parameters = LCDM
    box = BOX

    def __init__(self, settings: CambSettings | None = None) -> None:
        self._settings = settings or PRESETS["planck2018"]
        self.lmax = self._settings.lmax

    @property
    def settings(self) -> dict[str, Any]:
        """Code, version and every pinned setting."""
        return {"code": "camb", "version": camb.__version__, **asdict(self._settings)}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, 6)
    ) -> Spectra:
        """Return lensed tt, te, ee, bb and pp with derived parameters; not differentiable."""
        check_box(theta, self.parameters, self.box)
        dl = np.empty((len(theta), 5, self.lmax + 1))
        derived = np.empty((len(theta), len(DERIVED)))
        for i, row in enumerate(theta.tolist()):
            point = dict(zip(self.parameters, row, strict=True))
            primordial = [(point.pop("logA"), point.pop("ns"))]
            lensed, _, table = spectra_of_one_background(self._settings, point, primordial)
            dl[i], derived[i] = lensed[0], table[0]
        tables = torch.from_numpy(derived)
        return Spectra(
            {
                pair: torch.from_numpy(dl[:, j].copy())
                for j, pair in enumerate(("tt", "te", "ee", "bb", "pp"))
            },
            {
                **{p: theta[:, i] for i, p in enumerate(self.parameters)},
                **{p: tables[:, i] for i, p in enumerate(DERIVED)},
            },
        )
