"""One table of models fitted to the same data: best fits, criteria, Bayes factors, constraints, remarks.

The first model is the reference. Differences are model minus reference, so negative delta chi2, AIC and BIC speak
for the model; ln B = ln Z(model) - ln Z(reference), so that positive numbers do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from cmbfit.errors import ComparisonError, ParameterError
from cmbfit.inference.comparison import (
    SavageDickey,
    aic,
    bic,
    savage_dickey_joint,
    savage_dickey_samples,
    strength,
)
from cmbfit.inference.intervals import marginal_constraint
from cmbfit.inference.maximum import BestFit, find_maximum, maximum_of_chain
from cmbfit.inference.products import Samples
from cmbfit.inference.restrict import restrict
from cmbfit.likelihood.base import described
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.prior_mass import log_marginal_prior
from cmbfit.likelihood.priors import Uniform

PRIORS = "Gaussian priors"
"""Name of the Gaussian priors' part among the chi2 of the data sets."""


@dataclass(frozen=True)
class Candidate:
    """A model of the table.

    Attributes
    ----------
    name, title : str
    posterior : Posterior
    start, scale : mapping of str to float
        Where the optimiser may start, and rough widths.
    samples : Samples or None
        The fit's chain; None gives no constraints and no Savage-Dickey ratio.
    n_effective : float or None
        Effective number of the samples, for the errors of density ratios.
    fixed : mapping of str to float
        Parameters that `posterior` holds fixed, and the reference does not; `samples` are then those of the larger model.
    null : mapping of str to float
        Where this model is the reference: the point of the Savage-Dickey ratio.
    evidence : mapping or None
        ``method``, ``log_z`` and ``log_z_error``.
    look_elsewhere : mapping or None
        ``p_value``, ``sigma`` and more, from simulated skies.
    published : str
        What others found, with the source.
    remarks : tuple of str
        What the data cannot say, approximations.
    """

    name: str
    title: str
    posterior: Posterior
    start: Mapping[str, float]
    scale: Mapping[str, float]
    samples: Samples | None = None
    n_effective: float | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    null: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] | None = None
    look_elsewhere: Mapping[str, Any] | None = None
    published: str = ""
    remarks: tuple[str, ...] = ()


def data_difference(a: Posterior, b: Posterior) -> str | None:
    """Return in words why two posteriors are not of the same data, or None if they are."""
    of_a, of_b = ({like.info.name: described(like) for like in x.likelihoods} for x in (a, b))
    if only := [*(set(of_a) - set(of_b)), *(set(of_b) - set(of_a))]:
        return f"{', '.join(sorted(only))} {'is' if len(only) == 1 else 'are'} in one of them only"
    for name, settings in of_a.items():
        if settings != of_b[name]:
            keys = sorted(k for k in {*settings, *of_b[name]} if settings.get(k) != of_b[name].get(k))
            return f"{name} differs in {', '.join(keys)}"
    for name in a.nuisances:
        if name in b.nuisances and a.priors.get(name) != b.priors.get(name):
            return f"the prior of the calibration {name} differs"
    return None


def require_same_data(models: Sequence[tuple[str, Posterior]]) -> None:
    """Raise :class:`ComparisonError` unless all posteriors are of the same data.

    Raises
    ------
    ComparisonError
        Naming the first two that differ, and how.
    """
    (first, reference), *others = models
    for name, posterior in others:
        if why := data_difference(reference, posterior):
            raise ComparisonError(
                f"{first} and {name} are fits of different data: {why}. Their chi2 and evidences cannot be compared; "
                "compare fits of the same data"
            )


def compare(candidates: Sequence[Candidate], rng: np.random.Generator, *, starts: int = 4) -> dict[str, Any]:
    """Fit and compare models of the same data.

    Parameters
    ----------
    candidates : sequence of Candidate
        The first is the reference.
    rng : numpy.random.Generator
    starts : int
        Starting points of the optimiser for each model: the likeliest points of its chain that lie apart, else
        draws around `start`.

    Returns
    -------
    dict
        JSON-able: ``data``, ``n_data``, ``reference`` and ``models``, one record each; see
        docs/methods/comparison.md.

    Raises
    ------
    ComparisonError
        If there is nothing to compare, a name occurs twice, or the data differ.
    """
    names = [c.name for c in candidates]
    if not names or len(set(names)) < len(names):
        raise ComparisonError(f"compare: expected models of different names, found {names}")
    require_same_data([(c.name, c.posterior) for c in candidates])
    reference = candidates[0]
    infos = [like.info for like in reference.posterior.likelihoods]
    n_data = sum(info.n_data for info in infos)
    best = {c.name: _best_fit(c, rng, starts) for c in candidates}
    chi2 = {c.name: _chi2(c.posterior, best[c.name]) for c in candidates}
    rows = [_row(c, reference, best, chi2, n_data) for c in candidates]
    return {
        "reference": reference.name,
        "data": [{"name": info.name, "title": info.title, "n_data": info.n_data} for info in infos],
        "n_data": n_data,
        "models": rows,
    }


def _best_fit(model: Candidate, rng: np.random.Generator, starts: int) -> BestFit:
    if model.samples is None or model.fixed:
        return find_maximum(model.posterior, model.start, model.scale, starts=starts, rng=rng)
    points = model.samples.joined[:, : model.samples.n_sampled]
    return maximum_of_chain(
        model.posterior, model.scale, points, np.concatenate(model.samples.log_prob), starts=starts
    )


def _chi2(posterior: Posterior, best: BestFit) -> dict[str, float]:
    """Return chi2 of the data sets, of the Gaussian priors, and the total."""
    names = posterior.parameters
    centre = {p: getattr(posterior.priors[p], "mean", best.point[p]) for p in names}
    for joint in posterior.joint_priors:
        centre |= dict(zip(joint.names, joint.mean, strict=True))
    theta = torch.tensor([[x[p] for p in names] for x in (best.point, centre)], dtype=torch.float64)
    here, top = posterior.log_prior(theta.to(posterior.device)).tolist()
    out = {**best.chi2, PRIORS: 2 * (top - here)}
    return out | {"total": sum(out.values())}


def _row(
    model: Candidate,
    reference: Candidate,
    best: Mapping[str, BestFit],
    all_chi2: Mapping[str, Mapping[str, float]],
    n_data: int,
) -> dict[str, Any]:
    posterior, base = model.posterior, reference.posterior
    chi2, chi2_base = all_chi2[model.name], all_chi2[reference.name]
    p, p_base = len(posterior.parameters), len(base.parameters)
    fixed = model.fixed
    extra = [x for x in posterior.parameters if x not in base.parameters]
    remarks = [*model.remarks, *_prior_remarks(posterior, base)]
    row: dict[str, Any] = {
        "name": model.name,
        "title": model.title,
        "kind": _kind(model, reference, extra),
        "n_parameters": p,
        "extra_parameters": extra,
        "fixed": dict(fixed),
        "priors": {x: prior.describe() for x, prior in posterior.priors.items()},
        "best_fit": {"point": best[model.name].point, **_starts(best[model.name])},
        "chi2": dict(chi2),
        "delta_chi2": {k: chi2[k] - chi2_base[k] for k in chi2},
        "delta_aic": aic(chi2["total"], p) - aic(chi2_base["total"], p_base),
        "delta_bic": bic(chi2["total"], p, n_data) - bic(chi2_base["total"], p_base, n_data)
        if n_data
        else None,
        "savage_dickey": _savage_dickey(model, reference),
        "evidence": _evidence(model, reference),
        "look_elsewhere": dict(model.look_elsewhere) if model.look_elsewhere else None,
        "theory_difference": None,
        "constraints": {},
        "published": model.published,
    }
    if best[model.name].agreed == 1 < best[model.name].starts:
        remarks.append("only one start reached this maximum: there may be a better one")
    if row["kind"] == "extension" and delta_too_high(row):
        remarks.append("chi2 above the smaller model's: other theory code, or the maximum was not found")
    if model.null and row["kind"] == "extension":
        row["theory_difference"] = _theory_difference(model, best[reference.name], chi2_base)
    if model.samples is not None and not fixed:
        wanted = extra or [x for x in base.parameters if x in posterior.theory.parameters]
        row["constraints"] = {x: marginal_constraint(model.samples, x).describe() for x in wanted}
    return row | {"remarks": remarks}


def delta_too_high(row: Mapping[str, Any]) -> bool:
    """Return whether a larger model fits worse than the one that it contains, by more than rounding."""
    return bool(row["delta_chi2"]["total"] > 0.05)


def _starts(best: BestFit) -> dict[str, int]:
    return {"starts": best.starts, "agreed": best.agreed}


def _kind(model: Candidate, reference: Candidate, extra: Sequence[str]) -> str:
    if model is reference:
        return "reference"
    if model.fixed:
        return "restriction"
    missing = [x for x in reference.posterior.parameters if x not in model.posterior.parameters]
    return "extension" if extra and not missing else "other"


def _prior_remarks(posterior: Posterior, base: Posterior) -> list[str]:
    """Say which priors of shared parameters differ: evidences depend on them."""
    differ = [
        f"{p} ({posterior.priors[p].describe()} against {base.priors[p].describe()})"
        for p in posterior.parameters
        if p in base.priors and posterior.priors[p].describe() != base.priors[p].describe()
    ]
    return [f"priors differ from the reference's: {', '.join(differ)}"] if differ else []


def _savage_dickey(model: Candidate, reference: Candidate) -> dict[str, Any] | None:
    """Return ln B of the model by the density ratio of the larger one of the pair, or why there is none."""
    if model is reference:
        return None
    larger, point, sign = (reference, model.fixed, 1.0) if model.fixed else (model, model.null, -1.0)
    if not point:
        return {"why_not": "the models are not nested at a known point"}
    if larger.samples is None:
        return {"why_not": f"no chain of {larger.name}"}
    limits = [larger.posterior.support[p] for p in point]
    if not all(isinstance(larger.posterior.priors[p], Uniform) for p in point) or not all(
        math.isfinite(x) for pair in limits for x in pair
    ):
        return {"why_not": "the prior is not uniform"}
    x = np.column_stack([larger.samples.column(p) for p in point])
    try:
        held = (model.posterior if model.fixed else restrict(larger.posterior, point)).prior_mass
        marginal = log_marginal_prior(larger.posterior.priors, point, larger.posterior.prior_mass, held)
        if len(point) == 1:
            got: SavageDickey = savage_dickey_samples(
                x[:, 0],
                *limits[0],
                point=next(iter(point.values())),
                n_effective=larger.n_effective,
                log_prior=marginal,
            )
        else:
            got = savage_dickey_joint(
                x, limits, list(point.values()), n_effective=larger.n_effective, log_prior=marginal
            )
    except ParameterError as error:
        return {"why_not": str(error)}
    return {
        "point": dict(point),
        "ln_b": sign * got.ln_b01,
        "error": math.hypot(got.error, held.error, larger.posterior.prior_mass.error),
        "prior_width": got.prior_width,
        "posterior_width": got.posterior_width,
        "strength": strength(got.ln_b01),
    }


def _evidence(model: Candidate, reference: Candidate) -> dict[str, Any] | None:
    if model.evidence is None:
        return None
    out = {k: model.evidence[k] for k in ("log_z", "log_z_error", "method")}
    if model.evidence["log_z"] is None:
        return out | {"why_not": model.evidence["why_not"]}
    if reference.evidence is None or reference.evidence["log_z"] is None or model is reference:
        return out
    ln_b = model.evidence["log_z"] - reference.evidence["log_z"]
    error = math.hypot(model.evidence["log_z_error"], reference.evidence["log_z_error"])
    return out | {"ln_b": ln_b, "error": error, "strength": strength(ln_b)}


def _theory_difference(model: Candidate, best: BestFit, chi2_reference: Mapping[str, float]) -> float | None:
    """Return chi2(model at the reference's best fit and its own null point) - chi2(reference there).

    Zero but for the numerics of two theory codes, and for edges that stand in for infinity.
    """
    values = {**{p: model.start[p] for p in model.posterior.parameters}, **best.point, **model.null}
    theta = torch.tensor([[values[p] for p in model.posterior.parameters]], dtype=torch.float64)
    with torch.no_grad():
        terms = model.posterior.log_likelihoods(theta.to(model.posterior.device))
    total = -2 * sum(x.item() for x in terms.values())
    data = sum(chi2_reference[k] for k in terms)
    return total - data if math.isfinite(total) else None
