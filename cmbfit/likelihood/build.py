"""A posterior from a fit's configuration: data sets, priors, starting point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmbfit.errors import ConfigError
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets import load_likelihood
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Uniform, prior_from_config
from cmbfit.likelihood.sacc_data import read_own_spectra
from cmbfit.theory.base import Theory


def likelihoods_from_config(fit: Mapping[str, Any]) -> list[Likelihood]:
    """Load a fit's data sets; `own_spectra` is the run's own product, described under that key."""
    out: list[Likelihood] = []
    for name in fit["data"]:
        if name == "own_spectra":
            own = fit["own_spectra"]
            ranges = {pair: (int(a), int(b)) for pair, (a, b) in own.get("ranges", {}).items()}
            out.append(
                read_own_spectra(own["path"], name, survey=own["survey"], pairs=own["pairs"], ranges=ranges)
            )
        else:
            out.append(load_likelihood(name))
    return out


def posterior_from_config(fit: Mapping[str, Any], theory: Theory) -> Posterior:
    """Build a posterior.

    Parameters
    ----------
    fit : mapping
        ``data``: names of data sets; ``priors``: parameter to ``{uniform: [low, high]}`` or
        ``{gaussian: [mean, std]}``. Priors of nuisance parameters default to the data sets' own.
    theory : Theory
    """
    priors = {name: prior_from_config(name, spec) for name, spec in fit["priors"].items()}
    for name, (low, high) in theory.box.items():
        prior = priors.get(name)
        if isinstance(prior, Uniform) and (prior.low < low or prior.high > high):
            raise ConfigError(
                f"prior of {name}: [{prior.low:g}, {prior.high:g}] reaches beyond [{low:g}, {high:g}], where the "
                "theory is valid: it would be cut there without a word; narrow the prior or train a wider emulator"
            )
    return Posterior(theory, likelihoods_from_config(fit), priors)


def start_from_config(
    fit: Mapping[str, Any], posterior: Posterior
) -> tuple[dict[str, float], dict[str, float]]:
    """Return starting centre and scale of every parameter of a posterior.

    Raises
    ------
    ConfigError
        If a parameter has no start, or a scale is not positive.
    """
    start = fit["start"]
    if missing := [p for p in posterior.parameters if p not in start]:
        raise ConfigError(f"start: no [centre, scale] for {', '.join(missing)}")
    if unknown := [p for p in start if p not in posterior.parameters]:
        raise ConfigError(
            f"start: {unknown[0]} is not a parameter of this fit ({', '.join(posterior.parameters)})"
        )
    if bad := [p for p, (_, scale) in start.items() if not scale > 0]:
        raise ConfigError(f"start: the scale of {bad[0]} must be positive, found {start[bad[0]][1]}")
    return {p: start[p][0] for p in posterior.parameters}, {p: start[p][1] for p in posterior.parameters}
