"""Fits of parts of the data against the whole: whether parameters move more than those of parts should.

The posterior of a part, of the same theory and priors, has a mean that differs from the whole's by C_part - C_whole (Gratton &
Challinor 2020, arXiv:1911.07754, eq. 1), priors and common data included: both have them. Two parts without data in common
would differ by C_a + C_b if they shared nothing; what they do share, Gaussian priors and common data of information P, each
counts, and it must not scatter twice:

    <(a - b)(a - b)^T> = C_a + C_b - C_a P C_b - C_b P C_a,

which is C_a - C_b where P is all that b knows. Both hold for Gaussian posteriors; correlations between bandpowers of two parts
are neglected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmbfit.errors import ConfigError, SamplerError, unknown_name
from cmbfit.fit.build import build_likelihoods, build_posterior, start_point
from cmbfit.fit.complete import with_data
from cmbfit.inference.importance import WeightedSamples, importance_sample
from cmbfit.inference.restrict import restrict
from cmbfit.inference.shifts import APART, PARTLY, relation, shift_of_moments
from cmbfit.inference.subset_request import WHOLE, SubsetRequest
from cmbfit.inference.tempered import TemperedSettings, run_tempered
from cmbfit.inference.tension_request import AMPLITUDE
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Gaussian

Matrix = np.ndarray


@dataclass(frozen=True)
class Part:
    """A fit of a part of the data.

    Attributes
    ----------
    posterior : Posterior
    samples : WeightedSamples
    method : str
    """

    posterior: Posterior
    samples: WeightedSamples
    method: str


def expected_covariance(one: Matrix, two: Matrix, shared: Matrix) -> Matrix:
    """Return the covariance of the difference of two parts' means.

    Parameters
    ----------
    one, two, shared : numpy.ndarray, shape (n, n)
        Their covariances, and the information (inverse covariance) of what both have.
    """
    common = one @ shared @ two
    return one + two - common - common.T


def measure_subsets(request: SubsetRequest, seed: int) -> dict[str, Any]:
    """Fit every part of a request, and hold it against the whole, JSON-able.

    Parameters
    ----------
    request : SubsetRequest
    seed : int

    Raises
    ------
    ConfigError
        If a part has no data, or a shifted parameter is not sampled.
    SamplerError
        If a posterior is sampled neither by importance nor by tempering.
    """
    whole = build_likelihoods(request.fit)
    data = {WHOLE: list(request.fit.data), **request.data_of_parts(whole)}
    seeds = np.random.SeedSequence(seed).spawn(len(data))
    parts = {
        name: _fitted(request, items, child) for (name, items), child in zip(data.items(), seeds, strict=True)
    }
    known = [*parts[WHOLE].posterior.parameters, AMPLITUDE]
    for name in request.shifted:
        if name not in known:
            raise ConfigError(f"subsets: {unknown_name('parameter', name, known)}")
    shifts = [_shift(request, parts, WHOLE, name) for name in data if name != WHOLE]
    shifts += [_shift(request, parts, one, two) for one, two in request.pairs]
    return {
        "fit": request.fit.name,
        "title": request.fit.title,
        "published": request.published,
        "fixed": dict(request.fixed),
        "shifted": list(request.shifted),
        "common": list(request.common),
        "priors": {p: x.describe() for p, x in parts[WHOLE].posterior.priors.items()},
        "parts": {name: _record(part, request.shifted) for name, part in parts.items()},
        "shifts": shifts,
    }


def _fitted(request: SubsetRequest, items: Sequence[Any], seed: np.random.SeedSequence) -> Part:
    fit = with_data(request.fit, items)
    posterior = build_posterior(fit)
    if request.fixed:
        posterior = restrict(posterior, request.fixed)
    try:
        found = importance_sample(
            posterior, *start_point(fit, posterior), np.random.default_rng(seed), n=request.draws, starts=3
        )
        return Part(posterior, found, "importance sampling")
    except SamplerError:  # a part may leave a degeneracy that no t is a proposal for
        found = run_tempered(posterior, TemperedSettings(), int(seed.generate_state(1)[0]))
        return Part(posterior, found, "tempering")


def _record(part: Part, shifted: Sequence[str]) -> dict[str, Any]:
    mean, covariance = _moments(part, shifted)
    likes = part.posterior.likelihoods
    best = part.samples.best
    return {
        "data": [
            {"name": x.info.name, "title": x.info.title, "sky": _sky(x), "n_data": x.info.n_data}
            for x in likes
        ],
        "n_data": sum(x.info.n_data for x in likes),
        "chi2": dict(best.chi2) if best else None,
        "mean": dict(zip(shifted, mean.tolist(), strict=True)),
        "std": dict(zip(shifted, np.sqrt(np.diag(covariance)).tolist(), strict=True)),
        "covariance": covariance.tolist(),
        "method": part.method,
        "effective_fraction": part.samples.ess_fraction,
    }


def _sky(like: Any) -> dict[str, dict[str, list[int]]]:
    return {s: {p: [int(a), int(b)] for p, (a, b) in pairs.items()} for s, pairs in like.info.sky.items()}


def _rows(names: Sequence[str], shifted: Sequence[str]) -> Matrix:
    """Return the matrix from parameters to those that are looked at."""
    rows = np.zeros((len(shifted), len(names)))
    for i, name in enumerate(shifted):
        for p, x in ({"logA": 1.0, "tau": -2.0} if name == AMPLITUDE else {name: 1.0}).items():
            if p in names:
                rows[i, list(names).index(p)] = x
    return rows


def _moments(part: Part, shifted: Sequence[str]) -> tuple[Matrix, Matrix]:
    mean, covariance = part.samples.moments()
    rows = _rows(part.samples.parameters, shifted)
    # of a parameter held fixed only what is left of a combination moves: logA - 2 tau less the constant 2 tau
    return rows @ mean, rows @ covariance @ rows.T


def _shift(request: SubsetRequest, parts: dict[str, Part], one: str, two: str) -> dict[str, Any]:
    """Return how far `two` lies from `one`."""
    a, b = parts[one], parts[two]
    about = [[{"name": x.info.name, "sky": _sky(x)} for x in p.posterior.likelihoods] for p in (a, b)]
    kind = relation(*about)
    own = [[x for x in rows if x["name"] not in request.common] for rows in about]
    expected = None
    if kind in (APART, PARTLY) and relation(*own) == APART:
        kind, expected = APART, _expected_apart(request, a, b, parts[WHOLE])
    moments = [_moments(p, request.shifted) for p in (a, b)]
    found = shift_of_moments(
        kind, request.shifted, [m for m, _ in moments], [c for _, c in moments], request.shifted, expected
    )
    return {"from": one, "to": two, **found.record()}


def _expected_apart(request: SubsetRequest, a: Part, b: Part, whole: Part) -> Matrix:
    """Return the expected covariance of parts that share priors and common data alone, of the shifted parameters."""
    names = [p for p in a.samples.parameters if p in b.samples.parameters]

    def covariance(part: Part) -> Matrix:
        index = [part.samples.parameters.index(p) for p in names]
        return part.samples.moments()[1][np.ix_(index, index)]

    rows = _rows(names, request.shifted)
    shared = shared_information(whole.posterior, names, request.common, whole.samples.moments())
    return rows @ expected_covariance(covariance(a), covariance(b), shared) @ rows.T


def shared_information(
    posterior: Posterior, names: Sequence[str], common: Sequence[str], about: tuple[Matrix, Matrix]
) -> Matrix:  # shape: (n_names, n_names)
    """Return the information of Gaussian priors and of common data sets, of which each part has its copy.

    Parameters
    ----------
    posterior : Posterior
        Of the whole.
    names : sequence of str
        Parameters that both parts have.
    common : sequence of str
        Data sets. Their ln L is differenced over one standard deviation of the whole, since tables have kinks.
    about : (mean, covariance)
        Of the whole.
    """
    at = [posterior.parameters.index(p) for p in names]
    out = np.zeros((len(posterior.parameters),) * 2)
    jointly = {name for joint in posterior.joint_priors for name in joint.names}
    for p, prior in posterior.priors.items():
        if isinstance(prior, Gaussian) and p not in jointly:
            i = posterior.parameters.index(p)
            out[i, i] += 1 / prior.std**2
    for joint in posterior.joint_priors:
        index = [posterior.parameters.index(p) for p in joint.names]
        out[np.ix_(index, index)] += np.linalg.inv(np.array(joint.covariance))
    if common:
        out += _curvature(posterior, common, *about)
    return out[np.ix_(at, at)]


def _curvature(posterior: Posterior, common: Sequence[str], mean: Matrix, covariance: Matrix) -> Matrix:
    """Return minus the second differences of common data sets' ln L, without directions in which it curves up."""
    n, step = len(mean), np.sqrt(np.diag(covariance))
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    points = np.array(
        [mean + s * step * np.eye(n)[i] + t * step * np.eye(n)[j] for i, j in pairs for s, t in signs]
    )
    with torch.no_grad():
        terms = posterior.log_likelihoods(torch.from_numpy(points))
    value = np.sum([terms[name].numpy() for name in common], axis=0).reshape(len(pairs), 4)
    out = np.zeros((n, n))
    for (i, j), (pp, pm, mp, mm) in zip(pairs, value, strict=True):
        # for i = j the steps are of 0 and 2: pp + mm - pm - mp is 4 step^2 times the second derivative as well
        out[i, j] = out[j, i] = -(pp - pm - mp + mm) / (4 * step[i] * step[j])
    values, vectors = np.linalg.eigh(out * np.outer(step, step))
    return (vectors * values.clip(min=0)) @ vectors.T / np.outer(step, step)
