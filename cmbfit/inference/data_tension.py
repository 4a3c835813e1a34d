"""Do two data sets agree on a model's parameters? Both alone and together, by the same priors.

Each of A, B and A + B is fitted and its evidence computed by importance sampling around the maximum
(:mod:`cmbfit.inference.importance`); parameter shift and suspiciousness follow.

Nothing may stand in both A and B, because it would agree with itself: a common measurement of tau is refused as data. As a
common normal prior it would enter the model dimensionality d = 2 var(ln L) by how far it pulls, not by what is
measured (Planck + ACT: d = 10.4 of 9 parameters). Fix tau instead: at l > 30 only A_s e^-2tau matters, but for lensing.
For the same reason normal priors of calibrations, which only A or only B has, count with its likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from cmbfit.errors import ComparisonError, ConfigError, unknown_name
from cmbfit.fit.build import build_posterior, load_data, start_point
from cmbfit.fit.complete import with_data
from cmbfit.inference.importance import WeightedSamples, importance_sample
from cmbfit.inference.restrict import restrict
from cmbfit.inference.tension import Evidence, Tension, parameter_shift, suspiciousness
from cmbfit.inference.tension_request import AMPLITUDE, TensionRequest
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Gaussian


def measure_tension(request: TensionRequest, seed: int) -> dict[str, Any]:
    """Return shift and suspiciousness of two data sets, JSON-able.

    Parameters
    ----------
    request : TensionRequest
    seed : int

    Raises
    ------
    ComparisonError
        If the two share a data set.
    ConfigError
        If a shifted parameter is unknown.
    SamplerError
        If one of the three posteriors is far from one peak.
    """
    data = {"a": list(request.a), "b": list(request.b), "both": [*request.a, *request.b]}
    _refuse_shared(data["a"], data["b"])
    fits = {key: with_data(request.fit, items) for key, items in data.items()}
    posteriors = {key: build_posterior(fit) for key, fit in fits.items()}
    theory = posteriors["both"].theory
    known = [*(p for p in theory.parameters if p not in request.fixed), AMPLITUDE]
    for name in request.shifted:
        if name not in known:
            raise ConfigError(f"tension: {unknown_name('parameter', name, known)}")
    if request.fixed:
        posteriors = {key: restrict(p, request.fixed) for key, p in posteriors.items()}
    seeds = np.random.SeedSequence(seed).spawn(3)
    samples = {
        key: importance_sample(
            p, *start_point(fits[key], p), np.random.default_rng(child), n=request.draws, starts=3
        )
        for (key, p), child in zip(posteriors.items(), seeds, strict=True)
    }
    moments = {key: shifted_moments(s, request.shifted) for key, s in samples.items()}
    shift = parameter_shift(*moments["a"], *moments["b"])
    evidence = {k: evidence_with_calibrations(posteriors[k], s) for k, s in samples.items()}
    suspicious = suspiciousness(evidence["a"], evidence["b"], evidence["both"])
    alone = {
        name: parameter_shift(
            moments["a"][0][i : i + 1],
            moments["a"][1][i : i + 1, i : i + 1],
            moments["b"][0][i : i + 1],
            moments["b"][1][i : i + 1, i : i + 1],
        ).sigma
        * float(np.sign(moments["b"][0][i] - moments["a"][0][i]))
        for i, name in enumerate(request.shifted)
    }
    return {
        "titles": {
            "a": request.title_a,
            "b": request.title_b,
            "both": f"{request.title_a} + {request.title_b}",
        },
        "data": {k: [like.info.name for like in p.likelihoods] for k, p in posteriors.items()},
        "priors": {
            p: posteriors["both"].priors[p].describe() for p in theory.parameters if p not in request.fixed
        },
        "fixed": dict(request.fixed),
        "published": request.published,
        "parameters": {
            name: {
                **{k: [float(m[i]), float(np.sqrt(c[i, i]))] for k, (m, c) in moments.items()},
                "shift_sigma": alone[name],
            }
            for i, name in enumerate(request.shifted)
        },
        "shift": vars_of(shift),
        "suspiciousness": {
            "ln_r": suspicious.ln_r,
            "ln_i": suspicious.ln_i,
            "ln_s": suspicious.ln_s,
            **vars_of(suspicious.tension),
        },
        "evidence": {
            k: {
                "log_z": s.log_z,
                "log_z_error": s.log_z_error,
                "ess_fraction": s.ess_fraction,
                **vars(evidence[k]),
            }
            for k, s in samples.items()
        },
        "chi2": {k: s.best.chi2 for k, s in samples.items() if s.best},
    }


def evidence_with_calibrations(posterior: Posterior, samples: WeightedSamples) -> Evidence:
    """Return evidence, divergence and dimensionality with normal priors of calibrations counted as data.

    The prior's peak value leaves Z with it, which cancels between A, B and both.
    """
    names = samples.parameters
    log_like, log_z = samples.log_like.copy(), samples.log_z
    jointly = {name for joint in posterior.joint_priors for name in joint.names}
    for name in posterior.nuisances:
        prior = posterior.priors[name]
        if isinstance(prior, Gaussian) and name not in jointly:
            x = torch.from_numpy(np.append(samples.points[:, names.index(name)], prior.mean))
            density = prior.log_prob(x).numpy()
            log_like, log_z = log_like + density[:-1] - density[-1], log_z - float(density[-1])
    for joint in posterior.joint_priors:
        columns = [names.index(n) for n in joint.names]
        x = torch.from_numpy(np.vstack([samples.points[:, columns], joint.mean]))
        density = joint.log_prob(x).numpy()
        log_like, log_z = log_like + density[:-1] - density[-1], log_z - float(density[-1])
    return Evidence.from_samples(log_z, log_like, samples.weights)


def vars_of(tension: Tension) -> dict[str, Any]:
    """Return a tension's fields."""
    return dict(vars(tension))


def _refuse_shared(a: Sequence[Any], b: Sequence[Any]) -> None:
    calibrations, names = (
        [{x for like in likelihoods for x in of(like.info)} for likelihoods in (load_data(a), load_data(b))]
        for of in (lambda info: info.nuisance, lambda info: [info.name])
    )
    if common := sorted(calibrations[0] & calibrations[1]):
        raise ComparisonError(
            f"tension: both data sets have the calibration {', '.join(common)}; rename it in one of them "
            "(rename: {old: new}), or they do not stand for themselves"
        )
    if shared := sorted(names[0] & names[1]):
        raise ComparisonError(
            f"tension: {', '.join(shared)} is in both data sets and would agree with itself; give what they have in "
            "common as a fixed parameter (fixed: {tau: 0.0544})"
        )


def shifted_moments(
    samples: WeightedSamples, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:  # shapes: (n_names,), (n_names, n_names)
    """Return mean and covariance of sampled parameters and of ``logA-2tau``."""
    mean, covariance = samples.moments()
    rows = np.zeros((len(names), len(samples.parameters)))
    for i, name in enumerate(names):
        terms = {"logA": 1.0, "tau": -2.0} if name == AMPLITUDE else {name: 1.0}
        for parameter, factor in terms.items():
            if parameter == "tau" and "tau" not in samples.parameters:
                continue  # fixed: a constant, the same in all
            rows[i, samples.parameters.index(parameter)] = factor
    return rows @ mean, rows @ covariance @ rows.T
