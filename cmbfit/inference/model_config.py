"""Which models a run compares, and what each needs: fits in groups of equal data.

``comparison`` in a configuration::

    comparison:
      fixed: {harrison_zeldovich: {fit: lcdm, title: ..., values: {ns: 1.0}}}   # a fit with parameters held
      nests: {my_extension: {nrun: 0.0}}        # where a fit is the reference; known for the registry's models
      evidence: {method: importance}            # or chain, nested, one's own; each with its own settings
      starts: 4                                 # of the optimiser
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbfit.errors import ConfigError, unknown_name
from cmbfit.fit.description import Fit
from cmbfit.fit.run import Run
from cmbfit.inference.samplers import Start
from cmbfit.io import reading

if TYPE_CHECKING:
    from cmbfit.inference.evidence import EvidenceResult
    from cmbfit.inference.model_table import Candidate
    from cmbfit.inference.products import Samples
    from cmbfit.likelihood.posterior import Posterior

# a plan reads models and runs none: what needs torch is imported where it is used


@dataclass(frozen=True)
class Model:
    """A model of a run: a fit, or a fit with parameters held fixed.

    Attributes
    ----------
    name, title : str
    fit : Fit
    fixed : mapping of str to float
        Empty for the fit itself.
    nests : mapping
        The configuration's word on where it is the reference.
    """

    name: str
    title: str
    fit: Fit
    fixed: Mapping[str, float] = field(default_factory=dict)
    nests: Mapping[str, float | str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return the model as JSON; :meth:`from_json` makes the same one of it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Model:
        """Return the model of :meth:`describe`.

        Raises
        ------
        ConfigError
            If it is none.
        """
        with reading("a model's description", "what Model.describe writes", ConfigError):
            return cls(**{**value, "fit": Fit.from_json(value["fit"])})

    def posterior(self, device: str = "cpu") -> Posterior:
        """Return the model's posterior, folded where possible."""
        from cmbfit.fit.build import build_posterior  # noqa: PLC0415

        return self.within(build_posterior(self.fit, device))

    def within(self, whole: Posterior) -> Posterior:
        """Return the model's posterior from that of its fit."""
        from cmbfit.inference.restrict import restrict  # noqa: PLC0415

        return restrict(whole, self.fixed) if self.fixed else whole

    def start(self, posterior: Posterior) -> Start:
        """Return where searches in the model's posterior start."""
        from cmbfit.fit.build import start_point  # noqa: PLC0415

        return Start(*start_point(self.fit, posterior))


def models_by_data(run: Run, names: Sequence[str] | None = None) -> list[list[Model]]:
    """Return the models of a run in groups of equal data; the first of a group is its reference.

    Parameters
    ----------
    run : Run
    names : sequence of str, optional
        Models wanted, in one group whatever their data; default all of the run's fits and what is fixed in them.

    Raises
    ------
    ConfigError
        If ``comparison.fixed`` or ``nests`` names an unknown fit, a name is given twice, or a wanted one is unknown.
    """
    section, known = run.config.get("comparison", {}), run.config["fits"]
    fixed = {name: spec for name, spec in section.get("fixed", {}).items() if spec is not None}
    nests = section.get("nests", {})
    for key, where in (("fixed", [x["fit"] for x in fixed.values()]), ("nests", nests)):
        for name in where:
            if name not in known:
                raise ConfigError(f"comparison.{key}: {unknown_name('fit', name, known)}")
    models = {n: Model(n, fit.title, fit, {}, nests.get(n, {})) for n, fit in run.fits.items()}
    for name, spec in fixed.items():
        if name in known:
            raise ConfigError(f"comparison.fixed: {name} is the name of a fit already; choose another")
        if spec["fit"] in run.fits:
            models[name] = _restricted(name, spec, run.fits[spec["fit"]])
    if names is not None:
        for name in names:
            if name not in models:
                raise ConfigError(unknown_name("model", name, models))
        return [[models[name] for name in names]]
    groups: dict[str, list[Model]] = {}
    for model in models.values():
        key = json.dumps([model.fit.data, model.fit.own_spectra], sort_keys=True)
        groups.setdefault(key, []).append(model)
    return list(groups.values())


def _restricted(name: str, spec: Mapping[str, Any], fit: Fit) -> Model:
    """Return a fit with parameters held, unless its prior excludes a value: the models are not nested then."""
    from cmbfit.likelihood.priors import prior_from_config  # noqa: PLC0415

    for parameter, value in spec["values"].items():
        if parameter not in fit.priors:
            continue  # a calibration: known when the data are read
        low, high = prior_from_config(parameter, fit.priors[parameter]).support
        if not low <= value <= high:
            raise ConfigError(
                f"comparison.fixed.{name}: {parameter} = {value:g} lies outside the fit's prior [{low:g}, {high:g}]; widen "
                f"that prior, fix another value, or take the model out (comparison: {{fixed: {{{name}: null}}}})"
            )
    values = ", ".join(f"{p} = {x:g}" for p, x in spec["values"].items())
    return Model(name, spec.get("title", f"{fit.title}, {values}"), fit, dict(spec["values"]))


def posteriors_of(models: Sequence[Model], device: str = "cpu") -> dict[str, Posterior]:
    """Return the posteriors of models by name; each fit is built once."""
    from cmbfit.fit.build import build_posterior  # noqa: PLC0415

    whole: dict[str, Posterior] = {}
    out = {}
    for model in models:
        if model.fit.name not in whole:
            whole[model.fit.name] = build_posterior(model.fit, device)
        out[model.name] = model.within(whole[model.fit.name])
    return out


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
    from cmbfit.inference.model_table import Candidate  # noqa: PLC0415
    from cmbfit.theory.primordial import get_model  # noqa: PLC0415
    from cmbfit.theory.primordial.null_point import null_point  # noqa: PLC0415

    primordial = model.fit.primordial
    note = ""
    if primordial:
        note = get_model(primordial).note
    start = model.start(posterior)
    return Candidate(
        model.name,
        model.title,
        posterior,
        start.centre,
        start.scale,
        samples=samples,
        n_effective=n_effective,
        fixed=model.fixed,
        null={} if model.fixed else null_point(primordial, posterior.priors, model.nests),
        evidence=evidence,
        look_elsewhere=look_elsewhere,
        published="" if model.fixed else model.fit.published,
        remarks=(note,) if note else (),
    )


def model_evidence(
    model: Model,
    posterior: Posterior,
    section: Mapping[str, Any],
    seed: int,
    *,
    samples: Samples | None = None,
    checkpoint: str | Path | None = None,
    code: str = "",
) -> EvidenceResult:
    """Compute a model's evidence as the configuration asks.

    Parameters
    ----------
    model : Model
    posterior : Posterior
        Of the model.
    section : mapping
        ``comparison.evidence``: ``method`` and its settings.
    seed : int
    samples : Samples, optional
        The fit's own, for methods that use them.
    checkpoint : path, optional
        Folder of the method's checkpoints.
    code : str
        Hash or version of the code, part of a checkpoint's identity.
    """
    from cmbfit.inference.evidence import EvidenceTask, measure_evidence  # noqa: PLC0415

    task = EvidenceTask(
        posterior,
        model.start(posterior),
        seed,
        samples,
        model.fixed,
        None if checkpoint is None else Path(checkpoint),
        code,
    )
    return measure_evidence(task, section)
