"""Evaporating primordial black holes heat and ionise the gas: CLASS with energy injection.

dE/dVdt = rho_cdm c^2 f_PBH f_EM (dM/dt)/M_i (Stoecker et al. 2018, arXiv:1801.01871), all of it deposited on the
spot times `efficiency`, which is exactly degenerate with f_PBH. On the spot with efficiency 1 overestimates
the effect: use 0.1 to 0.5. CLASS stops its mass loop at half the initial mass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmbfit.errors import MissingCodeError, ParameterError, SolverError
from cmbfit.theory.spectra import CMB_PAIRS
from cmbfit.units import T_CMB_UK, dl_over_cl

MASS_RANGE = (1e13, 1e17)
"""Grams: lighter holes evaporate before recombination matters, heavier ones hardly at all."""


FIDUCIAL: dict[str, float] = {
    "h": 0.6736,
    "omega_b": 0.02237,
    "omega_cdm": 0.1200,
    "ln10^{10}A_s": 3.044,
    "n_s": 0.9649,
    "z_reio": 7.68971,
}
"""LCDM with the *redshift* of reionisation fixed: at fixed tau CLASS would move it to undo the effect."""


@dataclass(frozen=True)
class PbhResult:
    """What CLASS gives.

    Attributes
    ----------
    dl : dict of str to numpy.ndarray, shape (lmax + 1,)
        Lensed tt, te, ee, bb in uK^2 from l = 0.
    tau : float
        Optical depth, with the holes' ionisation.
    z_reio : float
        Redshift of reionisation proper.
    z, ionised : numpy.ndarray, shape (n,)
        Redshift, increasing, and free electrons per hydrogen nucleus.
    """

    dl: dict[str, np.ndarray]
    tau: float
    z_reio: float
    z: np.ndarray
    ionised: np.ndarray


def evaporation_spectra(
    mass_g: float,
    fraction: float,
    *,
    efficiency: float = 1.0,
    lmax: int = 2500,
    cosmology: Mapping[str, float] | None = None,
) -> PbhResult:
    """Run CLASS with a fraction `fraction` of the dark matter in holes of `mass_g` grams.

    Parameters
    ----------
    mass_g : float
        Within :data:`MASS_RANGE`.
    fraction : float
        f_PBH in 0..1; 0 is LCDM.
    efficiency : float
        Deposited share of the electromagnetic energy.
    lmax : int
    cosmology : mapping of str to float, optional
        CLASS's names; instead of :data:`FIDUCIAL`. Without neutrinos of its own it gets the mass of 0.06 eV.

    Raises
    ------
    ParameterError
        For a mass, fraction or efficiency out of range.
    MissingCodeError
        If CLASS is not installed.
    SolverError
        If CLASS fails at this point, with its message: probability zero in a fit.
    """
    if not MASS_RANGE[0] <= mass_g <= MASS_RANGE[1]:
        raise ParameterError(f"PBH mass: expected {MASS_RANGE[0]:g}..{MASS_RANGE[1]:g} g, found {mass_g:g}")
    if not (0 <= fraction <= 1 and 0 < efficiency <= 1):
        raise ParameterError(
            f"PBH: expected 0 <= fraction <= 1 and 0 < efficiency <= 1, found {fraction:g}, {efficiency:g}"
        )
    try:
        from classy import Class, CosmoComputationError  # noqa: PLC0415 (an optional extra)
    except ImportError as error:
        raise MissingCodeError("evaporating holes need CLASS: pip install 'cmbfit[class]'") from error

    settings: dict[str, float | str] = {
        "output": "tCl,pCl,lCl",
        "lensing": "yes",
        "l_max_scalars": lmax,
        **(cosmology or FIDUCIAL),
    }
    if "N_ur" not in settings:
        settings |= {"N_ur": 2.0328, "N_ncdm": 1, "m_ncdm": 0.06}
    if fraction > 0:
        settings |= {
            "PBH_evaporation_fraction": fraction,
            "PBH_evaporation_mass": mass_g,
            "f_eff_type": "on_the_spot",
            "f_eff": efficiency,
        }
    code = Class()
    try:
        code.set(settings)
        code.compute()
        cl = code.lensed_cl(lmax)
        history = code.get_thermodynamics()
        tau = float(code.tau_reio())
        z_reio = float(code.get_current_derived_parameters(["z_reio"])["z_reio"])
    except CosmoComputationError as error:
        raise SolverError(f"CLASS failed for PBH of {mass_g:g} g, f = {fraction:g}: {error}") from error
    finally:
        code.struct_cleanup()
        code.empty()
    factor = dl_over_cl(cl["ell"]) * T_CMB_UK**2
    order = np.argsort(history["z"])
    return PbhResult(
        dl={p: cl[p] * factor for p in CMB_PAIRS},
        tau=tau,
        z_reio=z_reio,
        z=history["z"][order],
        ionised=history["x_e"][order],
    )
