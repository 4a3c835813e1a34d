"""Where a primordial model is the power law: the points at which Savage-Dickey ratios are taken.

A cut-off or a bounce has no such point at finite parameters; at the lower edge of its prior the scale is so
large that no data see it, and the edge serves. That is stated with the ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cmbfit.errors import ConfigError, unknown_name
from cmbfit.theory.primordial.registry import get_model


class HasSupport(Protocol):
    """What is asked of a prior: the interval outside of which it is zero."""

    @property
    def support(self) -> tuple[float, float]: ...  # noqa: D102


def null_point(
    model: str | None,
    priors: Mapping[str, HasSupport],
    given: Mapping[str, float | str] | None = None,
) -> dict[str, float]:
    """Return where a model becomes the smaller one, or nothing if that is not known.

    Parameters
    ----------
    model : str or None
        Name of a primordial model, which says so in `null`; None for a fit without one.
    priors : mapping of str to HasSupport
        Of the fit.
    given : mapping, optional
        The configuration's word, which goes before the model's.

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
    known: Mapping[str, float | str] = get_model(model).null if model else {}
    out: dict[str, float] = {}
    for name, value in (given or known).items():
        if name not in priors:
            raise ConfigError(f"nests: {unknown_name('parameter', name, priors)}")
        if isinstance(value, str):
            if value not in ("low", "high"):
                raise ConfigError(f"nests: {name}: expected a number, low or high, found {value!r}")
            out[name] = priors[name].support[value == "high"]
        else:
            out[name] = float(value)
    return out
