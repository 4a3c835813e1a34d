"""Which models a run's configuration compares, and what each needs: fits in groups of equal data.

``comparison`` in a configuration::

    comparison:
      fixed: {harrison_zeldovich: {fit: lcdm, title: ..., values: {ns: 1.0}}}   # a fit with parameters held
      nests: {my_extension: {nrun: 0.0}}        # where a fit is the reference; known for the registry's models
      evidence: {method: importance}            # or nested, with the fields of EvidenceSettings
      starts: 4                                 # of the optimiser
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.errors import ConfigError, SamplerError
from cmbfit.inference.importance import importance_sample
from cmbfit.inference.kernel_evidence import kernel_evidence
from cmbfit.inference.model_table import Candidate
from cmbfit.inference.nested import EvidenceSettings, compute_evidence
from cmbfit.inference.products import Samples
from cmbfit.inference.restrict import restrict
from cmbfit.likelihood.build import posterior_from_config, start_from_config
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.likelihood.model_defaults import complete_fit
from cmbfit.likelihood.posterior import Posterior, pick_device
from cmbfit.likelihood.priors import prior_from_config
from cmbfit.theory.parameters import LCDM, unknown_name
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.null_point import null_point
from cmbfit.theory.select import primordial_of, theory_from_config

METHODS = ("nested", "importance", "chain")


@dataclass(frozen=True)
class Model:
    """A model of a run: a fit, or a fit with parameters held fixed.

    Attributes
    ----------
    name, title : str
    fit_name : str
    fit : mapping
        The fit's section of the configuration.
    fixed : mapping of str to float
        Empty for the fit itself.
    nests : mapping
        The configuration's word on where it is the reference.
    """

    name: str
    title: str
    fit_name: str
    fit: Mapping[str, Any]
    fixed: Mapping[str, float] = field(default_factory=dict)
    nests: Mapping[str, float | str] = field(default_factory=dict)

    def posterior(self, emulator: str | Path, transfer: str | Path | None, device: str = "cpu") -> Posterior:
        """Return the model's posterior, compiled where possible."""
        theory = theory_from_config(self.fit, emulator, transfer)
        return self.within(
            compile_if_possible(posterior_from_config(self.fit, theory)).to(pick_device(device))
        )

    def within(self, whole: Posterior) -> Posterior:
        """Return the model's posterior from that of its fit."""
        return restrict(whole, self.fixed) if self.fixed else whole

    def start(self, posterior: Posterior) -> tuple[dict[str, float], dict[str, float]]:
        """Return starting centre and scale of the free parameters."""
        whole = posterior.whole
        centre, scale = start_from_config(self.fit, whole)
        return {p: centre[p] for p in posterior.parameters}, {p: scale[p] for p in posterior.parameters}


def models_by_data(config: Mapping[str, Any], names: Sequence[str] | None = None) -> list[list[Model]]:
    """Return the models of a run in groups of equal data; the first of a group is its reference.

    Parameters
    ----------
    config : mapping
        A run's configuration.
    names : sequence of str, optional
        Models wanted, in one group whatever their data; default all of ``run.fits`` and what is fixed in them.

    Raises
    ------
    ConfigError
        If ``comparison.fixed`` or ``nests`` names an unknown fit, a name is given twice, or a wanted one is unknown.
    """
    section = config.get("comparison", {})
    fixed = {name: spec for name, spec in section.get("fixed", {}).items() if spec is not None}
    fits = {name: config["fits"][name] for name in config["run"]["fits"]}
    for key, where in (("fixed", [x["fit"] for x in fixed.values()]), ("nests", section.get("nests", {}))):
        for name in where:
            if name not in config["fits"]:
                raise ConfigError(f"comparison.{key}: {unknown_name('fit', name, config['fits'])}")
    nests = section.get("nests", {})
    models = {n: Model(n, fit["title"], n, fit, {}, nests.get(n, {})) for n, fit in fits.items()}
    for name, spec in fixed.items():
        if name in config["fits"]:
            raise ConfigError(f"comparison.fixed: {name} is the name of a fit already; choose another")
        if spec["fit"] in fits:
            fit = complete_fit(fits[spec["fit"]])
            _require_allowed(name, spec["values"], fit["priors"])
            values = ", ".join(f"{p} = {x:g}" for p, x in spec["values"].items())
            models[name] = Model(
                name, spec.get("title", f"{fit['title']}, {values}"), spec["fit"], fit, spec["values"]
            )
    if names is not None:
        for name in names:
            if name not in models:
                raise ConfigError(unknown_name("model", name, models))
        return [[models[name] for name in names]]
    groups: dict[str, list[Model]] = {}
    for model in models.values():
        groups.setdefault(json.dumps(model.fit["data"], sort_keys=True), []).append(model)
    return list(groups.values())


def posteriors_of(
    models: Sequence[Model], emulator: str | Path, transfer: str | Path | None, device: str = "cpu"
) -> dict[str, Posterior]:
    """Return the posteriors of models by name; each fit is built once."""
    whole: dict[str, Posterior] = {}
    out = {}
    for model in models:
        if model.fit_name not in whole:
            whole[model.fit_name] = replace(model, fixed={}).posterior(emulator, transfer, device)
        out[model.name] = model.within(whole[model.fit_name])
    return out


def _require_allowed(name: str, values: Mapping[str, float], priors: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` for a value that the larger fit's prior excludes: the models are not nested then."""
    for parameter, value in values.items():
        if parameter not in priors:
            continue  # a calibration: known when the data are read
        low, high = prior_from_config(parameter, priors[parameter]).support
        if not low <= value <= high:
            raise ConfigError(
                f"comparison.fixed.{name}: {parameter} = {value:g} lies outside the fit's prior [{low:g}, {high:g}]; widen "
                f"that prior, fix another value, or take the model out (comparison: {{fixed: {{{name}: null}}}})"
            )


def candidate(
    model: Model,
    posterior: Posterior,
    *,
    samples: Samples | None = None,
    n_effective: float | None = None,
    evidence: Mapping[str, Any] | None = None,
    look_elsewhere: Mapping[str, Any] | None = None,
) -> Candidate:
    """Return a model as :func:`~cmbfit.inference.model_table.compare` wants it."""
    primordial = primordial_of(model.fit)
    note = get_model(primordial).note if primordial else ""
    centre, scale = model.start(posterior)
    return Candidate(
        model.name,
        model.title,
        posterior,
        centre,
        scale,
        samples=samples,
        n_effective=n_effective,
        null={} if model.fixed else null_point(primordial, posterior.priors, model.nests),
        evidence=evidence,
        look_elsewhere=look_elsewhere,
        published="" if model.fixed else model.fit.get("published", ""),
        remarks=(note,) if note else (),
    )


def evidence_record(
    model: Model,
    posterior: Posterior,
    settings: Mapping[str, Any],
    seed: int,
    *,
    chain: Samples | None = None,
    checkpoint: str | Path | None = None,
) -> tuple[dict[str, Any], Samples | None]:
    """Compute a model's evidence as the configuration asks.

    Parameters
    ----------
    model : Model
    posterior : Posterior
    settings : mapping
        ``method``: nested, importance or chain, and for nested the fields of
        :class:`~cmbfit.inference.nested.EvidenceSettings`.
    seed : int
    chain : Samples, optional
        The fit's chain, for the method of that name; a model with parameters held fixed has none of its own, and
        importance sampling takes its place.
    checkpoint : path, optional
        Folder of nested sampling's checkpoints.

    Returns
    -------
    record : dict
        ``method``, ``log_z``, ``log_z_error`` (or ``why_not``), diagnosis and cost.
    samples : Samples or None
        Of nested sampling.
    """
    method = settings.get("method", "nested")
    if method not in METHODS:
        raise ConfigError(f"comparison.evidence.method: expected {', '.join(METHODS)}, found {method!r}")
    centre, scale = model.start(posterior)
    if method == "nested":
        fields = EvidenceSettings(**{k: v for k, v in settings.items() if k != "method"})
        got = compute_evidence(posterior, centre, scale, fields, seed, checkpoint=checkpoint)
        return got.record(), got.samples
    rng = np.random.default_rng(seed)
    of_chain = method == "chain" and not model.fixed
    if of_chain and chain is None:
        raise ConfigError(
            f"comparison.evidence.method: chain needs the chain of {model.fit_name}; run the fit first, or take another "
            "method"
        )
    record: dict[str, Any] = {"method": "importance sampling" + (" around its chain" if of_chain else "")}
    try:
        if of_chain and chain is not None:
            points = chain.joined[:, : chain.n_sampled]
            own = [x for x in posterior.theory.parameters if x not in LCDM]
            weighted = kernel_evidence(posterior, points, np.concatenate(chain.log_prob), rng, own=own)
        else:
            weighted = importance_sample(posterior, centre, scale, rng, starts=4)
    except (SamplerError, np.linalg.LinAlgError) as error:
        return record | {"log_z": None, "log_z_error": None, "why_not": str(error)}, None
    return record | {
        "log_z": weighted.log_z,
        "log_z_error": weighted.log_z_error,
        "ess_fraction": weighted.ess_fraction,
        **vars(weighted.evidence()),
    }, None
