"""Evaporating primordial black holes heat and ionise the gas: CLASS with energy injection.

dE/dVdt = rho_cdm c^2 f_PBH f_EM (dM/dt)/M_i (Stoecker et al. 2018, arXiv:1801.01871), all of it deposited on the
spot times `efficiency`, which is exactly degenerate with f_PBH. On the spot with efficiency 1 overestimates
the effect: use 0.1 to 0.5.

CLASS 3.4.1 stops its mass loop at half the initial mass, which loses half the energy of holes that die before today, and takes 55%
for their f_EM throughout. So the history is our own (:mod:`~cmbfit.theory.hawking.history`), handed over as a
decay so slow that its rate is constant, times a table in place of the deposited share. ``history="class"`` is CLASS as shipped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.interpolate import CubicSpline

from cmbfit.errors import MissingCodeError, ParameterError, SolverError
from cmbfit.theory.class_code import class_lmax
from cmbfit.theory.hawking.black_hole import YEAR
from cmbfit.theory.hawking.history import injection_rate
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
    history: Literal["whole", "class"] = "whole",
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
    history : {"whole", "class"}
        All of the holes' energy, or what CLASS 3.4.1 makes of it.

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
        "l_max_scalars": class_lmax(lmax),
        **(cosmology or FIDUCIAL),
    }
    if "N_ur" not in settings:
        settings |= {"N_ur": 2.0328, "N_ncdm": 1, "m_ncdm": 0.06}
    code, folder = Class(), tempfile.TemporaryDirectory()
    try:
        if fraction > 0 and history == "class":
            settings |= {
                "PBH_evaporation_fraction": fraction,
                "PBH_evaporation_mass": mass_g,
                "f_eff_type": "on_the_spot",
                "f_eff": efficiency,
            }
        elif fraction > 0:
            settings |= _slow_decay(code, settings, mass_g, efficiency, Path(folder.name) / "rate.dat")
            settings["DM_decay_fraction"] = fraction
        code.set(settings)
        code.compute()
        cl = code.lensed_cl(lmax)
        table = code.get_thermodynamics()
        tau = float(code.tau_reio())
        z_reio = float(code.get_current_derived_parameters(["z_reio"])["z_reio"])
    except CosmoComputationError as error:
        raise SolverError(f"CLASS failed for PBH of {mass_g:g} g, f = {fraction:g}: {error}") from error
    finally:
        code.struct_cleanup()
        code.empty()
        folder.cleanup()
    factor = dl_over_cl(cl["ell"]) * T_CMB_UK**2
    order = np.argsort(table["z"])
    return PbhResult(
        dl={p: cl[p] * factor for p in CMB_PAIRS},
        tau=tau,
        z_reio=z_reio,
        z=table["z"][order],
        ionised=table["x_e"][order],
    )


_DECAY = 1e-26
"""1/s: over the age of the universe it takes 4e-9 of the dark matter, so that CLASS's rate of energy is constant per density."""


def _slow_decay(
    code: Any, settings: Mapping[str, float | str], mass_g: float, efficiency: float, path: Path
) -> dict[str, float | str]:
    """Write the table of rates for a cosmology; return the words that make CLASS use it."""
    background = {
        k: v
        for k, v in settings.items()
        if k not in ("output", "lensing", "l_max_scalars", "tau_reio", "z_reio")
    }
    code.set(background)
    code.compute()
    got = code.get_background()
    code.struct_cleanup()
    code.empty()
    # t(z) is smooth in logarithms; from CLASS's radiation era until today
    log_time = CubicSpline(np.log1p(got["z"][::-1]), np.log(got["proper time [Gyr]"][::-1] * 1e9 * YEAR))
    # CLASS asks up to 5e6; beyond 1e4 holes of MASS_RANGE lose next to nothing
    z = np.concatenate(
        [np.arange(0.0, 100.0, 0.25), np.geomspace(100.0, 1e4, 1900), np.geomspace(1.01e4, 1e7, 300)]
    )
    rate = injection_rate(mass_g, z, lambda x: np.exp(log_time(np.log1p(x))))
    rows = [f"{a:.8g} {b:.10g}" for a, b in zip(z, efficiency * rate / _DECAY, strict=True)]
    path.write_text("\n".join([str(len(z)), *rows]) + "\n")
    # CLASS puts its own folder before the name, however deep that is; more steps up than there are end at the root
    name = "/" + "../" * 20 + str(path.resolve()).lstrip("/")
    return {"DM_decay_Gamma": _DECAY, "f_eff_type": "from_file", "f_eff_file": name}
