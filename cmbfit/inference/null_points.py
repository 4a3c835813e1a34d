"""Where a primordial model is the power law: the points at which Savage-Dickey ratios are taken.

A cut-off or a bounce has no such point at finite parameters; at the lower edge of its prior the scale is so
large that no data see it, and the edge serves. That is stated with the ratio.
"""

from __future__ import annotations

from collections.abc import Mapping

from cmbfit.errors import ConfigError
from cmbfit.likelihood.priors import Prior
from cmbfit.theory.parameters import unknown_name

NULL_POINTS: dict[str, dict[str, float | str]] = {
    "running": {"nrun": 0.0, "nrunrun": 0.0},
    "cutoff_exponential": {"ln_kc": "low"},
    "cutoff_kinetic": {"ln_kc": "low"},
    "cutoff_radiation": {"ln_kc": "low"},
    "kink": {"slope_ratio": 1.0},
    "oscillation_log": {"amplitude": 0.0},
    "oscillation_running": {"amplitude": 0.0},
    "oscillation_linear": {"amplitude": 0.0},
    "alpha_vacuum": {"log10_lambda": "high"},
    "axion_monodromy": {"depth": 0.0},
    "excited_state": {"log10_quanta": "low"},
    "bounce_generic": {"ln_kb": "low"},
    "bounce_lqc": {"ln_kb": "low"},
}
"""Model to parameter to value; `low` and `high` are the edges of the prior."""


def null_point(
    model: str | None, priors: Mapping[str, Prior], given: Mapping[str, float | str] | None = None
) -> dict[str, float]:
    """Return where a model becomes the smaller one, or nothing if that is not known.

    Parameters
    ----------
    model : str or None
        Name of a primordial model; None for a fit without one.
    priors : mapping of str to Prior
        Of the fit.
    given : mapping, optional
        The configuration's word, which goes before the table.

    Raises
    ------
    ConfigError
        If a parameter is none of the fit's, or a word is neither a number nor an edge.

    Examples
    --------
    >>> from cmbfit.likelihood import Uniform
    >>> null_point("cutoff_kinetic", {"ln_kc": Uniform(-12.0, -3.0)})
    {'ln_kc': -12.0}
    """
    out: dict[str, float] = {}
    for name, value in (given or NULL_POINTS.get(model or "", {})).items():
        if name not in priors:
            raise ConfigError(f"nests: {unknown_name('parameter', name, priors)}")
        if isinstance(value, str):
            if value not in ("low", "high"):
                raise ConfigError(f"nests: {name}: expected a number, low or high, found {value!r}")
            out[name] = priors[name].support[value == "high"]
        else:
            out[name] = float(value)
    return out
