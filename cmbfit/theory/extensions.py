"""Parameters beyond flat LCDM's six: their values in the base model, ranges, and where they act.

`BACKGROUND_EXTENSIONS` parameters change the expansion or the transfer functions; `PRIMORDIAL_EXTENSIONS` ones (and A_L,
which scales the lensing potential afterwards) only what is done with the transfer functions, so that
several draws share the costly part of a Boltzmann run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cmbfit.errors import ParameterError, unknown_name
from cmbfit.theory.parameters import FIXED, LCDM


@dataclass(frozen=True)
class Extension:
    """A parameter that the base model holds fixed.

    Attributes
    ----------
    name, meaning : str
    default : float or None
        Its value in the base model; None where a relation gives it (helium from nucleosynthesis,
        the tensor tilt from single-field consistency).
    box : (float, float)
        Range in which the Boltzmann codes are meant to be used.
    """

    name: str
    meaning: str
    default: float | None
    box: tuple[float, float]


BACKGROUND_EXTENSIONS: dict[str, Extension] = {
    e.name: e
    for e in (
        Extension("mnu", "sum of neutrino masses [eV], carried by one state", FIXED["mnu"], (0.0, 2.0)),
        Extension("nnu", "effective number of neutrinos", FIXED["nnu"], (1.1, 8.0)),
        Extension("omk", "curvature density today over critical", 0.0, (-0.2, 0.2)),
        Extension("w", "dark energy's equation of state today", -1.0, (-3.0, -0.3)),
        Extension("wa", "minus its derivative with respect to the scale factor", 0.0, (-3.0, 2.0)),
        Extension("YHe", "helium mass fraction; default: big-bang nucleosynthesis", None, (0.1, 0.5)),
    )
}
PRIMORDIAL_EXTENSIONS: dict[str, Extension] = {
    e.name: e
    for e in (
        Extension("nrun", "running d ns / d ln k at 0.05/Mpc", 0.0, (-0.2, 0.2)),
        Extension("Alens", "factor on the lensing potential's power that lenses the CMB", 1.0, (0.0, 5.0)),
        Extension("r", "tensor-to-scalar ratio at 0.05/Mpc", 0.0, (0.0, 3.0)),
        Extension("nt", "tensor tilt; default: second-order single-field consistency", None, (-3.0, 3.0)),
    )
}
EXTENSIONS: dict[str, Extension] = {**BACKGROUND_EXTENSIONS, **PRIMORDIAL_EXTENSIONS}


def extended_parameters(extra: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the six LCDM names followed by `extra`, each checked against :data:`EXTENSIONS`.

    Examples
    --------
    >>> extended_parameters(["mnu"])
    ('ombh2', 'omch2', 'theta_mc', 'tau', 'logA', 'ns', 'mnu')
    """
    extra = tuple(extra)
    if bad := [name for name in extra if name not in EXTENSIONS]:
        raise ParameterError(unknown_name("extended parameter", bad[0], EXTENSIONS))
    if len(set(extra)) != len(extra):
        raise ParameterError(f"extended parameters: one is named twice in {', '.join(extra)}")
    return (*LCDM, *extra)
