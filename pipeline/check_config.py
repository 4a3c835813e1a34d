"""What a schema cannot see: names and numbers of a configuration that must fit together.

Called when Snakemake reads its files, so that a mistake stops the run in seconds, not after the fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from cmbfit.errors import ConfigError
from cmbfit.inference.sampling import settings_from_config
from cmbfit.likelihood.model_defaults import complete_fit, sampled_parameters
from cmbfit.likelihood.priors import prior_from_config
from cmbfit.likelihood.selection import select
from cmbfit.theory.parameters import DERIVED, LCDM, unknown_name


def _require_known(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise ConfigError(f"{where}: {unknown_name('name', name, known)}")


def check_edges(edges: list[int] | str) -> None:
    """Raise :class:`ConfigError` unless the bins' edges rise; the schema knows the names of sets of bins."""
    if not isinstance(edges, str) and any(b <= a for a, b in pairwise(edges)):
        raise ConfigError(f"spectra.edges: expected rising multipoles, found {edges}")


def check_fit(name: str, fit: Mapping[str, Any], box: Mapping[str, tuple[float, float]]) -> None:
    """Raise :class:`ConfigError` for a fit whose parts do not belong together.

    Parameters
    ----------
    name : str
    fit : mapping
        The fit's section.
    box : mapping of str to (low, high)
        Range of the theory.
    """
    where = f"fits.{name}"
    nuisances = [n for data in select(fit["data"]) for n in data.nuisance_names or ()]
    fit = complete_fit(fit)
    parameters = sampled_parameters(fit, LCDM)
    sampled = list(dict.fromkeys([*parameters, *nuisances]))
    _require_known(f"{where}.priors", fit["priors"], sampled)
    _require_known(f"{where}.start", fit["start"], sampled)
    _require_known(f"{where}.show", fit["show"], [*sampled, *DERIVED])
    _require_known(f"{where}.reference.parameters", fit["reference"]["parameters"], [*sampled, *DERIVED])
    for needed, section in ((parameters, "priors"), (sampled, "start")):
        if missing := [p for p in needed if p not in fit[section]]:
            raise ConfigError(f"{where}.{section}: nothing for {', '.join(missing)}")
    for parameter, spec in fit["priors"].items():
        low, high = prior_from_config(f"{where}.priors.{parameter}", spec).support
        centre, scale = fit["start"][parameter]
        if "uniform" in spec and parameter in box and (low < box[parameter][0] or high > box[parameter][1]):
            raise ConfigError(
                f"{where}.priors.{parameter}: [{low:g}, {high:g}] reaches beyond the emulator's or the "
                f"transfer functions' [{box[parameter][0]:g}, {box[parameter][1]:g}]; narrow it or train a wider emulator"
            )
        if not low < centre < high or scale <= 0:
            raise ConfigError(
                f"{where}.start.{parameter}: expected a centre inside the prior and a positive scale, "
                f"found {[centre, scale]}"
            )
    for parameter, (_, sigma) in fit["reference"]["parameters"].items():
        if sigma is not None and sigma <= 0:
            raise ConfigError(f"{where}.reference.parameters.{parameter}: sigma must be positive or null")
    settings = settings_from_config(fit["sampler"])
    if settings.walkers < 2 * len(sampled):
        raise ConfigError(f"{where}.sampler.walkers: {len(sampled)} parameters need {2 * len(sampled)}")
