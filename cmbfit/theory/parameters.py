"""Names, units and labels of cosmological parameters, and the spellings that users bring.

Inside cmbfit every parameter has one name. Other codes' spellings (`theta_MC_100`, `cosmomc_theta`,
`As`, ...) are translated here, once, by :func:`canonical_parameters`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cmbfit.errors import ParameterError, unknown_name


@dataclass(frozen=True)
class Parameter:
    """A parameter's canonical name, LaTeX label (without $) and meaning."""

    name: str
    latex: str
    meaning: str


_ALL = (
    Parameter("ombh2", r"\Omega_\mathrm{b} h^2", "physical baryon density today"),
    Parameter("omch2", r"\Omega_\mathrm{c} h^2", "physical cold dark matter density today"),
    Parameter("theta_mc", r"100\theta_\mathrm{MC}", "100 times CosmoMC's approximate sound-horizon angle"),
    Parameter("tau", r"\tau", "Thomson optical depth to reionisation"),
    Parameter("logA", r"\ln(10^{10} A_\mathrm{s})", "log scalar amplitude at k = 0.05/Mpc"),
    Parameter("ns", r"n_\mathrm{s}", "scalar spectral index at k = 0.05/Mpc"),
    Parameter("H0", r"H_0", "Hubble constant, km/s/Mpc"),
    Parameter("mnu", r"\sum m_\nu", "sum of neutrino masses, eV"),
    Parameter("nnu", r"N_\mathrm{eff}", "effective number of neutrinos"),
    Parameter("omegam", r"\Omega_\mathrm{m}", "matter density today over critical"),
    Parameter("sigma8", r"\sigma_8", "linear rms fluctuation in 8/h Mpc spheres today"),
    Parameter("S8", r"S_8", "sigma8 sqrt(omegam / 0.3)"),
    Parameter("thetastar", r"100\theta_*", "100 times the sound-horizon angle at last scattering"),
    Parameter("rdrag", r"r_\mathrm{drag}", "comoving sound horizon at the baryon drag epoch, Mpc"),
    Parameter("hrdrag", r"h r_\mathrm{drag}", "the same times H0 / (100 km/s/Mpc), Mpc"),
    Parameter("age", r"t_0", "age of the Universe, Gyr"),
    Parameter("zrei", r"z_\mathrm{re}", "redshift of half reionisation"),
    Parameter("omk", r"\Omega_K", "curvature density today over critical"),
    Parameter("w", r"w_0", "dark energy's equation of state today"),
    Parameter("wa", r"w_a", "minus the derivative of dark energy's equation of state with the scale factor"),
    Parameter("YHe", r"Y_\mathrm{He}", "primordial helium mass fraction"),
    Parameter("nrun", r"\alpha_\mathrm{s}", "running of the scalar spectral index"),
    Parameter("Alens", r"A_\mathrm{L}", "factor on the lensing potential's power"),
    Parameter("r", r"r", "tensor-to-scalar ratio at k = 0.05/Mpc"),
    Parameter("nt", r"n_\mathrm{t}", "tensor spectral index"),
    Parameter("beta", r"\beta", "rotation of polarisation after recombination, degrees"),
    Parameter(
        "f_pbh",
        r"f_\mathrm{PBH}f_\mathrm{eff}",
        "dark matter in evaporating black holes of one mass, times the deposited share of their energy",
    ),
    Parameter("A_planck", r"A_\mathrm{Planck}", "Planck map calibration: model / A_planck^2"),
    Parameter("A_act", r"A_\mathrm{ACT}", "ACT map calibration: model / A_act^2"),
    Parameter("P_act", r"P_\mathrm{ACT}", "ACT polarisation efficiency: model / P_act for each E"),
    Parameter("Tcal", r"T_\mathrm{cal}", "SPT temperature calibration"),
    Parameter("Ecal", r"E_\mathrm{cal}", "SPT polarisation calibration"),
    Parameter("BBdust", r"A_\mathrm{dust}", "dust BB power at l = 80, 353 GHz, uK^2"),
    Parameter("BBsync", r"A_\mathrm{sync}", "synchrotron BB power at l = 80, 150 GHz, uK^2"),
    Parameter("BBbetadust", r"\beta_\mathrm{dust}", "spectral index of dust"),
)
PARAMETERS: dict[str, Parameter] = {p.name: p for p in _ALL}


def latex_label(name: str) -> str:
    """Return a parameter's LaTeX label (without $); an unregistered nuisance shows its own name."""
    if name in PARAMETERS:
        return PARAMETERS[name].latex
    escaped = name.replace("_", r"\_")
    return rf"\mathrm{{{escaped}}}"


LCDM = ("ombh2", "omch2", "theta_mc", "tau", "logA", "ns")
"""The six sampled parameters of the base model, in the order used everywhere."""

BACKGROUND, PRIMORDIAL = LCDM[:4], LCDM[4:]
"""Those that change the transfer functions, and those of the primordial spectrum."""

DERIVED = ("H0", "omegam", "sigma8", "S8", "thetastar", "rdrag", "age", "zrei")
"""Derived parameters that a theory reports for a point of :data:`LCDM`."""

REPORTED = (*DERIVED, "hrdrag")
"""Those that a chain is given, as far as its theory knows them."""

FIXED = {"mnu": 0.06, "nnu": 3.044}
"""Held fixed in the base model: one massive neutrino, standard N_eff."""


# spelling -> (canonical name, conversion of the value)
_ALIASES: dict[str, tuple[str, Callable[[float], float]]] = {
    "theta_MC_100": ("theta_mc", lambda x: x),
    "100theta_MC": ("theta_mc", lambda x: x),
    "cosmomc_theta": ("theta_mc", lambda x: 100.0 * x),
    "As": ("logA", lambda x: math.log(1e10 * x)),
    "omegabh2": ("ombh2", lambda x: x),
    "omegach2": ("omch2", lambda x: x),
    "omega_b": ("ombh2", lambda x: x),
    "omega_cdm": ("omch2", lambda x: x),
    "n_s": ("ns", lambda x: x),
    "h": ("H0", lambda x: 100.0 * x),
}


def canonical_parameters(values: Mapping[str, float], allowed: Iterable[str]) -> dict[str, float]:
    """Translate spellings and check that every value is known, finite and given once.

    Parameters
    ----------
    values : mapping of str to float
        What the user gave, in any spelling of this module.
    allowed : iterable of str
        Canonical names that are acceptable here.

    Returns
    -------
    dict
        Canonical names to values.

    Raises
    ------
    ParameterError
        For an unknown name, a parameter given twice, or a value that is not a finite number.

    Examples
    --------
    >>> canonical_parameters({"cosmomc_theta": 0.0104}, ["theta_mc"])
    {'theta_mc': 1.04}
    """
    allowed = list(allowed)
    out: dict[str, float] = {}
    for spelling, raw in values.items():
        name, convert = _ALIASES.get(spelling, (spelling, float))
        if name not in allowed:
            spellings = [a for a, (target, _) in _ALIASES.items() if target in allowed]
            raise ParameterError(unknown_name("parameter", spelling, [*allowed, *spellings]))
        if name in out:
            raise ParameterError(f"parameter {name!r} is given twice (again as {spelling!r})")
        if not math.isfinite(raw) or (spelling == "As" and raw <= 0):
            raise ParameterError(
                f"parameter {spelling!r}: expected a finite number in its range, found {raw!r}"
            )
        out[name] = convert(float(raw))
    return out
