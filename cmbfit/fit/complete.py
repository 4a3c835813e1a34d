"""The one function that completes and checks a fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from cmbfit.errors import ConfigError, Problems, at, unknown_name
from cmbfit.fit.defaults import Box, default_prior, default_start
from cmbfit.fit.description import Correlations, Fit, Gate, Reference
from cmbfit.fit.theory import TheoryPlan, plan_theory
from cmbfit.likelihood.priors import Gaussian, Prior, Uniform, prior_from_config
from cmbfit.likelihood.selection import OWN, Selection, select
from cmbfit.theory.extensions import EXTENSIONS
from cmbfit.theory.parameters import REPORTED

_SHOWN = ("H0", "sigma8")


def complete_fit(
    name: str,
    section: Mapping[str, Any],
    emulator: str,
    *,
    box: Box | None = None,
    transfer: str | None = None,
    transfer_box: Box | None = None,
    own_spectra: Mapping[str, Any] | None = None,
    blind: Mapping[str, Any] | None = None,
    run_code: bool = True,
) -> Fit:
    """Complete and check a fit's section of a configuration.

    ``data`` alone is needed. Priors default to flat ones within the theory's range, starts follow from the priors
    (of nuisance parameters, from their data sets), the sampler to emcee with its own defaults, two ensembles, a gate
    for convergence alone.

    Parameters
    ----------
    name : str
    section : mapping
        As the schema allows it.
    emulator : str
        Shipped name or folder of the run's emulator.
    box : mapping, optional
        The emulator's parameters and their range; read from its manifest when omitted (one that is still to be trained has
        none).
    transfer : str, optional
        Folder of the transfer functions that the run makes, for primordial models without ``theory: {transfer: ...}``.
    transfer_box : mapping, optional
        Their range.
    own_spectra : mapping, optional
        See :class:`~cmbfit.fit.description.Fit`.
    blind : mapping, optional
        As well. A blinded fit has neither a reference nor published words: beside them its numbers would be read.
    run_code : bool
        False completes without running a user's own model, whose parameters stay unknown: to look, not to fit.

    Raises
    ------
    ConfigError
        Naming the places ``fits.NAME...`` of all parts that do not belong to the others, a line each.
    CodeNotAllowedError
        If it names the user's own code and nobody allowed it to run.
    """
    where = f"fits.{name}"
    wrong = Problems(where)
    with wrong.part():
        plan = plan_theory(
            section.get("theory", {}), emulator, box, transfer, transfer_box, run_code=run_code
        )
    with wrong.part(), at(f"{where}.data"):
        selections = select(section["data"])
    wrong.stop()  # all else builds on these
    nuisances = None if plan.unknown else _nuisances(selections)
    priors = _priors(where, section.get("priors", {}), plan, nuisances, wrong)
    start = _start(where, section.get("start", {}), priors, plan, nuisances, wrong)
    with wrong.part():
        sampler = _sampler(where, section.get("sampler", {}), plan.parameters, nuisances)
    with wrong.part():
        if any(s.name == OWN for s in selections) and own_spectra is None:
            raise ConfigError(
                f"{where}.data: own_spectra, but the configuration has no spectra.likelihood to make them"
            )
    show = tuple(section.get("show", (*plan.parameters, *_SHOWN)))
    with wrong.part():
        reference = _reference(where, section.get("reference"))
        values = reference.parameters if reference else {}
        if nuisances is not None:
            known = [*plan.parameters, *nuisances, *REPORTED]
            _require_known(f"{where}.show", show, known)
            _require_known(f"{where}.reference.parameters", values, known)
        for parameter, (_, sigma) in values.items():
            if sigma is not None and not sigma > 0:
                raise ConfigError(f"{where}.reference.parameters.{parameter}: sigma must be positive or null")
    with wrong.part():
        gate = _gate(where, section.get("gate", {}))
    wrong.stop()
    return Fit(
        name=name,
        title=section.get("title") or _title(plan, selections),
        data=tuple(section["data"]),
        priors=priors,
        start=start,
        theory=plan.theory,
        sampler=sampler,
        ensembles=section.get("ensembles", 2),
        show=show,
        reference=None if blind else reference,
        gate=gate,
        published="" if blind else section.get("published", ""),
        own_spectra=dict(own_spectra) if own_spectra and any(s.name == OWN for s in selections) else None,
        blind=blind,
    )


def with_data(fit: Fit, items: Sequence[Any]) -> Fit:
    """Return a completed fit of the same theory, priors and start to other data.

    What the fit says of nuisance parameters that the other data lack is left out.

    Parameters
    ----------
    fit : Fit
    items : sequence
        As a fit's ``data``.
    """
    own = _nuisances(select(fit.data))
    nuisances = _nuisances(select(items))
    gone = set(own or ()) - set(nuisances or own or ())
    return replace(
        fit,
        data=tuple(items),
        priors={p: x for p, x in fit.priors.items() if p not in gone},
        start={p: x for p, x in fit.start.items() if p not in gone},
    )


def _nuisances(selections: Iterable[Selection]) -> list[str] | None:
    """Return the nuisance parameters' names; None where only a user's own code knows them."""
    out: list[str] = []
    for selection in selections:
        names = selection.nuisance_names
        if names is None:
            return None
        out += names
    return list(dict.fromkeys(out))


def _title(plan: TheoryPlan, selections: Iterable[Selection]) -> str:
    return f"{plan.title}, {' + '.join(dict.fromkeys(s.name for s in selections))}"


def _known_names(
    where: str, given: Iterable[str], plan: TheoryPlan, nuisances: list[str] | None, wrong: Problems
) -> None:
    """Refuse names that are no parameters of the fit."""
    for name in given:
        with wrong.part():
            if name in plan.absent:
                raise ConfigError(f"{where}.{name}: {plan.absent[name]}")
            if nuisances is not None and name in EXTENSIONS and name not in (*plan.parameters, *nuisances):
                raise ConfigError(
                    f"{where}.{name}: this fit's theory holds {name} fixed; to vary it, add theory: {{extends: [{name}]}}, which "
                    "takes the shipped emulator that has it"
                )
            if nuisances is not None:
                _require_known(where, [name], [*plan.parameters, *nuisances])


def _priors(
    where: str, given: Mapping[str, Any], plan: TheoryPlan, nuisances: list[str] | None, wrong: Problems
) -> dict[str, dict[str, Any]]:
    """Return the priors that are right."""
    _known_names(f"{where}.priors", given, plan, nuisances, wrong)
    out = {p: given.get(p) or plan.priors.get(p) or default_prior(p, plan.box) for p in plan.parameters}
    out |= {p: x for p, x in given.items() if p not in out}
    right = {}
    for parameter, spec in out.items():
        with wrong.part():
            prior = prior_from_config(f"{where}.priors.{parameter}", spec)
            low, high = plan.box.get(parameter, prior.support)
            if isinstance(prior, Uniform) and (prior.low < low or prior.high > high):
                raise ConfigError(
                    f"{where}.priors.{parameter}: [{prior.low:g}, {prior.high:g}] reaches beyond the "
                    f"{plan.bounds(parameter)} [{low:g}, {high:g}]; narrow it, or make these wider"
                )
            right[parameter] = dict(spec)
    return right


def _start(
    where: str,
    given: Mapping[str, Any],
    priors: Mapping[str, Mapping[str, Any]],
    plan: TheoryPlan,
    nuisances: list[str] | None,
    wrong: Problems,
) -> dict[str, tuple[float, float]]:
    """Return the starts of parameters whose priors are right."""
    _known_names(f"{where}.start", given, plan, nuisances, wrong)
    out: dict[str, tuple[float, float]] = {}
    for parameter in dict.fromkeys([*plan.parameters, *given]):
        prior = prior_from_config(parameter, priors[parameter]) if parameter in priors else None
        if parameter in given:
            centre, scale = map(float, given[parameter])
        elif prior is not None:
            centre, scale = default_start(
                parameter, _within(prior, plan.box.get(parameter)), plan.starts.get(parameter)
            )
        else:
            continue
        low, high = prior.support if prior is not None else (-float("inf"), float("inf"))
        with wrong.part():
            if not (low < centre < high and scale > 0):
                raise ConfigError(
                    f"{where}.start.{parameter}: expected a centre inside the prior [{low:g}, {high:g}] and a positive "
                    f"scale, found {[centre, scale]}"
                )
            out[parameter] = centre, scale
    return out


def _within(prior: Prior, limits: tuple[float, float] | None) -> Prior:
    """Return a normal prior whose centre is no start as the flat one of the theory's range."""
    if isinstance(prior, Gaussian) and limits and not limits[0] < prior.mean < limits[1]:
        return Uniform(*limits)
    return prior


def _sampler(
    where: str, given: Mapping[str, Any], parameters: tuple[str, ...], nuisances: list[str] | None
) -> dict[str, Any]:
    from cmbfit.inference.samplers import settings_of  # noqa: PLC0415 (samplers lie further down the road)

    out = {"kind": "emcee", **given}
    settings_of(out, f"{where}.sampler", len(parameters) + len(nuisances or ()))
    return out


def _reference(where: str, given: Mapping[str, Any] | None) -> Reference | None:
    if not given:
        return None
    values = {p: (float(m), None if s is None else float(s)) for p, (m, s) in given["parameters"].items()}
    joint = given.get("correlations")
    return Reference(given["label"], given["source"], values, joint and _correlations(where, joint, values))


def _correlations(where: str, given: Mapping[str, Any], values: Mapping[str, Any]) -> Correlations:
    """Return published correlations; they must be a correlation matrix of parameters with published errors."""
    names, lower = given["parameters"], given["lower"]
    where = f"{where}.reference.correlations"
    for name in names:
        if values.get(name, (0.0, None))[1] is None:
            raise ConfigError(f"{where}.parameters: {name} has no mean and sigma among reference.parameters")
    if [len(row) for row in lower] != list(range(1, len(names) + 1)) or any(row[-1] != 1 for row in lower):
        raise ConfigError(
            f"{where}.lower: expected {len(names)} rows of 1 to {len(names)} numbers, each ending with 1"
        )
    n = range(len(names))
    matrix = tuple(tuple(float(lower[max(i, j)][min(i, j)]) for j in n) for i in n)
    if np.linalg.eigvalsh(matrix)[0] <= 0:
        raise ConfigError(f"{where}.lower: no correlation matrix, it has an eigenvalue below zero")
    return Correlations(given["source"], tuple(names), matrix)


def _gate(where: str, given: Mapping[str, Any]) -> Gate:
    if unknown := [k for k in given if k not in (names := [f.name for f in fields(Gate)])]:
        raise ConfigError(f"{where}.gate: {unknown_name('key', unknown[0], names)}")
    out = {**vars(Gate()), **given}
    low, high = out["width_ratio"]
    return Gate(float(out["pull"]), (float(low), float(high)), float(out["r_minus_1"]))


def _require_known(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise ConfigError(f"{where}: {unknown_name('name', name, known)}")
