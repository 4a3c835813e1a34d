"""Free-form P(k) averaged over the number of knots by evidence, with the prior's own average beside it.

With equal prior probability for each N the posterior of anything is the mean of the models' posteriors weighted by
their evidences (Handley et al. 2019, arXiv:1908.00906, section II):

    p(P(k) | D) = sum_N w_N p(P(k) | D, N),   w_N = Z_N / sum Z.

Bands are quantiles of ln P at each k by itself: a curve need not stay inside a band. The prior's bands are made of the priors in
the same way, each N counting the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmbfit.errors import ComparisonError
from cmbfit.likelihood.priors import prior_from_config
from cmbfit.theory.primordial.knots import RANGE
from cmbfit.theory.primordial.model import PrimordialModel

QUANTILES = (2.5, 16.0, 50.0, 84.0, 97.5)
_POINTS = 200
_DRAWS = 4000
"""Of each model, of its posterior and of its prior: quantiles to 0.02 of a width."""


@dataclass(frozen=True)
class Member:
    """One number of knots.

    Attributes
    ----------
    name, title : str
    knots : int
    model : PrimordialModel
    priors : mapping
        Configurations of the fit's priors, the model's parameters among them.
    own : numpy.ndarray, shape (n, n_parameters of the model)
        Its parameters in draws of equal weight from the posterior.
    evidence : mapping
        Product of compute_evidence: ``log_z`` and ``log_z_error`` (None where a method refused), ``method``.
    """

    name: str
    title: str
    knots: int
    model: PrimordialModel
    priors: Mapping[str, Any]
    own: np.ndarray
    evidence: Mapping[str, Any]


def average(members: Sequence[Member], rng: np.random.Generator) -> dict[str, Any]:
    """Average P(k) over numbers of knots.

    Parameters
    ----------
    members : sequence of Member
        Of the same data, with different numbers of knots.
    rng : numpy.random.Generator
        Draws from the priors.

    Returns
    -------
    dict
        JSON-able: ``k`` [1/Mpc]; ``average`` and ``prior``, the :data:`QUANTILES` of ln(10^10 P) at each k by their
        names; ``priors``, in words; ``models``, for each N its evidence, ln B against two knots (or the fewest there are), probability and
        bands.

    Raises
    ------
    ComparisonError
        If no member has an evidence.
    """
    known = [m for m in members if m.evidence["log_z"] is not None]
    if not known:
        why = "; ".join(f"{m.name}: {m.evidence.get('why_not', '')}" for m in members)
        raise ComparisonError(f"free-form P(k): no number of knots has an evidence to be weighted by ({why})")
    k = np.geomspace(*RANGE, _POINTS)
    log_z = np.array([m.evidence["log_z"] for m in known])
    weight = np.exp(log_z - log_z.max())
    weight /= weight.sum()
    reference = next((m for m in known if m.knots == 2), min(known, key=lambda m: m.knots))
    curves = {m.name: _log_power(m.model, _thinned(m.own), k) for m in known}
    priors = [_log_power(m.model, _from_prior(m, rng), k) for m in known]
    models = []
    for member in sorted(members, key=lambda m: m.knots):
        row: dict[str, Any] = {"name": member.name, "title": member.title, "knots": member.knots}
        row |= {x: member.evidence.get(x) for x in ("log_z", "log_z_error", "method", "why_not")}
        if member in known:
            row |= _against(member, reference)
            row["probability"] = float(weight[known.index(member)])
            row["bands"] = _bands([curves[member.name]], [1.0])
        models.append(row)
    return {
        "k": k.tolist(),
        "priors": _words(known),
        "reference": reference.name,
        "average": _bands(list(curves.values()), weight),
        "prior": _bands(priors, np.full(len(known), 1 / len(known))),
        "models": models,
    }


def _words(members: Sequence[Member]) -> str:
    """Return the priors of heights and places in words."""
    heights = {str(m.priors[p]) for m in members for p in m.model.parameter_names if p.startswith("d")}
    places = {str(m.priors[p]) for m in members for p in m.model.parameter_names if p.startswith("u")}
    low, high = RANGE
    uniform = places <= {str({"uniform": [0.0, 1.0]})}
    where = "ordered, uniform in ln k" if uniform else f"ordered, of u with {' or '.join(sorted(places))},"
    return (
        f"ln(P/P_0) of each knot {' or '.join(sorted(heights))}; places {where} between {low:g} and {high:.3g} /Mpc, where the "
        "first and the last knot stand"
    )


def _against(member: Member, reference: Member) -> dict[str, float]:
    """Return ln B of a member against the reference and its error."""
    ours, theirs = member.evidence, reference.evidence
    error = 0.0 if member is reference else math.hypot(ours["log_z_error"], theirs["log_z_error"])
    return {"ln_b": ours["log_z"] - theirs["log_z"], "ln_b_error": error}


def _log_power(model: PrimordialModel, own: np.ndarray, k: np.ndarray) -> np.ndarray:  # shape: (n, n_k)
    with torch.no_grad():
        power = model.power(torch.from_numpy(k), torch.from_numpy(np.ascontiguousarray(own)))
    return torch.log(1e10 * power).numpy()


def _thinned(draws: np.ndarray) -> np.ndarray:
    """Return at most :data:`_DRAWS` rows, evenly spaced."""
    return draws[np.linspace(0, len(draws) - 1, min(_DRAWS, len(draws))).astype(int)]


def _from_prior(member: Member, rng: np.random.Generator) -> np.ndarray:
    columns = [
        prior_from_config(p, member.priors[p]).sample(rng, _DRAWS) for p in member.model.parameter_names
    ]
    return np.stack(columns, 1)


def _bands(curves: Sequence[np.ndarray], weights: Any) -> dict[str, list[float]]:
    """Return quantiles at each k of curves of several models, whose draws share a model's weight equally."""
    together = np.concatenate(curves)
    w = np.concatenate([np.full(len(c), x / len(c)) for c, x in zip(curves, weights, strict=True)])
    order = np.argsort(together, axis=0)
    below = np.cumsum(w[order], axis=0) - w[order] / 2  # shape: (n, n_k)
    value = np.take_along_axis(together, order, 0)
    found = np.array(
        [np.interp(np.array(QUANTILES) / 100, b, v) for b, v in zip(below.T, value.T, strict=True)]
    ).T
    return {f"q{q:g}": row.tolist() for q, row in zip(QUANTILES, found, strict=True)}
