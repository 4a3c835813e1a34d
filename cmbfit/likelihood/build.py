"""A posterior from a fit's configuration: data sets, priors, starting point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cmbfit.errors import ConfigError, LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, Likelihood, measures_tau, refuse_double_counting
from cmbfit.likelihood.model_defaults import complete_fit
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Uniform, prior_from_config
from cmbfit.likelihood.sacc_data import read_own_spectra
from cmbfit.likelihood.selection import Selection, select
from cmbfit.theory.base import Theory
from cmbfit.theory.extrapolation import extrapolate_to


def likelihoods_from_config(fit: Mapping[str, Any]) -> list[Likelihood]:
    """Load a fit's data sets.

    Parameters
    ----------
    fit : mapping
        ``data``, see :func:`~cmbfit.likelihood.selection.select`; ``own_spectra`` describes the run's
        own product where it is among them.

    Raises
    ------
    LikelihoodError
        If a data set is unknown, or two count the same sky.
    """
    likelihoods = [load_selection(s, fit.get("own_spectra", {})) for s in select(fit["data"])]
    infos = [like.info for like in likelihoods]
    refuse_double_counting(infos)
    _refuse_tau_twice(infos, fit.get("priors", {}))
    return likelihoods


def load_selection(selection: Selection, own: Mapping[str, Any] | None = None) -> Likelihood:
    """Load one data set of a fit.

    Parameters
    ----------
    own : mapping, optional
        Path, survey, pairs and ranges of the run's own spectra.
    """
    if selection.kind != "own":
        return selection.load()
    if not own:
        raise ConfigError("data: own_spectra, but nothing says where they are")
    ranges = {pair: (int(a), int(b)) for pair, (a, b) in own.get("ranges", {}).items()}
    return read_own_spectra(
        own["path"], selection.name, survey=own["survey"], pairs=own["pairs"], ranges=ranges
    )


def _refuse_tau_twice(infos: Sequence[DataSetInfo], priors: Mapping[str, Any]) -> None:
    """Refuse a Gaussian prior on tau, which is made from low-l EE, beside low-l EE itself."""
    if "gaussian" not in priors.get("tau", {}):
        return
    if twice := [info.name for info in infos if measures_tau(info) and not info.allow_overlap]:
        raise LikelihoodError(
            f"{twice[0]} measures tau by low-l EE, and priors: tau is Gaussian: the same measurement twice. Make the "
            "prior uniform, or leave the data set out (or give it allow_overlap with the reason)"
        )


def posterior_from_config(fit: Mapping[str, Any], theory: Theory) -> Posterior:
    """Build a posterior.

    Parameters
    ----------
    fit : mapping
        ``data``: see :func:`likelihoods_from_config`; ``priors``: parameter to ``{uniform: [low, high]}`` or
        ``{gaussian: [mean, std]}``. Priors of nuisance parameters default to the data sets' own.
    theory : Theory
    """
    fit = complete_fit(fit)
    priors = {name: prior_from_config(name, spec) for name, spec in fit["priors"].items()}
    for name, (low, high) in theory.box.items():
        prior = priors.get(name)
        if isinstance(prior, Uniform) and (prior.low < low or prior.high > high):
            raise ConfigError(
                f"prior of {name}: [{prior.low:g}, {prior.high:g}] reaches beyond [{low:g}, {high:g}], where the "
                "theory is valid: it would be cut there without a word; narrow the prior or train a wider emulator"
            )
    likelihoods = likelihoods_from_config(fit)
    # windows of ground-based surveys reach beyond the emulators: continued by a template, and recorded
    return Posterior(extrapolate_to(theory, max(like.lmax for like in likelihoods)), likelihoods, priors)


def start_from_config(
    fit: Mapping[str, Any], posterior: Posterior
) -> tuple[dict[str, float], dict[str, float]]:
    """Return starting centre and scale of every parameter of a posterior.

    Raises
    ------
    ConfigError
        If a parameter has no start, or a scale is not positive.
    """
    start = complete_fit(fit)["start"]
    if missing := [p for p in posterior.parameters if p not in start]:
        raise ConfigError(f"start: no [centre, scale] for {', '.join(missing)}")
    if unknown := [p for p in start if p not in posterior.parameters]:
        raise ConfigError(
            f"start: {unknown[0]} is not a parameter of this fit ({', '.join(posterior.parameters)})"
        )
    if bad := [p for p, (_, scale) in start.items() if not scale > 0]:
        raise ConfigError(f"start: the scale of {bad[0]} must be positive, found {start[bad[0]][1]}")
    return {p: start[p][0] for p in posterior.parameters}, {p: start[p][1] for p in posterior.parameters}
