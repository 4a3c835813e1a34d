"""Do two data sets agree on a model's parameters? Both alone and together, by the same priors.

Each of A, B and A + B is fitted and its evidence computed by importance sampling around the maximum
(:mod:`cmbfit.inference.importance`); parameter shift and suspiciousness follow.

Nothing may stand in both A and B, because it would agree with itself: a common measurement of tau is refused as data. As a
common normal prior it would enter the model dimensionality d = 2 var(ln L) by how far it pulls, not by what is
measured (Planck + ACT: d = 10.4 of 9 parameters). Fix tau instead: at l > 30 only A_s e^-2tau matters, but for lensing.
For the same reason normal priors of calibrations, which only A or only B has, count with its likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from cmbfit.errors import ComparisonError, ConfigError
from cmbfit.inference.importance import WeightedSamples, importance_sample
from cmbfit.inference.restrict import restrict
from cmbfit.inference.tension import Evidence, Tension, parameter_shift, suspiciousness
from cmbfit.likelihood.build import posterior_from_config
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Gaussian
from cmbfit.theory.base import Theory
from cmbfit.theory.parameters import unknown_name

AMPLITUDE = "logA-2tau"
"""ln(10^10 A_s e^-2tau): what spectra at l > 30 measure of amplitude and optical depth."""

SHIFTED = ("ombh2", "omch2", "theta_mc", AMPLITUDE, "ns")


@dataclass(frozen=True)
class TensionRequest:
    """Two data sets and the model in which they are held against each other.

    Attributes
    ----------
    a, b : sequence
        Data as in a fit's ``data``.
    priors : mapping
        As in a fit; the same for all three.
    fixed : mapping of str to float
        Parameters held fixed in all three.
    start : mapping
        As in a fit; parameters of data sets may be left out.
    shifted : sequence of str
        Parameters whose shift is measured: sampled ones, or ``logA-2tau``.
    title_a, title_b : str
    published : str
        A published comparison of the same data, quoted beside the result.
    """

    a: Sequence[Any]
    b: Sequence[Any]
    priors: Mapping[str, Any]
    start: Mapping[str, Sequence[float]]
    fixed: Mapping[str, float] = field(default_factory=dict)
    shifted: Sequence[str] = SHIFTED
    title_a: str = "A"
    title_b: str = "B"
    published: str = ""
    draws: int = 20_000


def measure_tension(request: TensionRequest, theory: Theory, seed: int) -> dict[str, Any]:
    """Return shift and suspiciousness of two data sets, JSON-able.

    Parameters
    ----------
    request : TensionRequest
    theory : Theory
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
    known = [*(p for p in theory.parameters if p not in request.fixed), AMPLITUDE]
    for name in request.shifted:
        if name not in known:
            raise ConfigError(f"tension: {unknown_name('parameter', name, known)}")
    data = {"a": list(request.a), "b": list(request.b), "both": [*request.a, *request.b]}
    plain = {
        k: posterior_from_config({"data": items, "priors": dict(request.priors)}, theory)
        for k, items in data.items()
        if k != "both"
    }
    _refuse_shared(list(plain.values()))
    plain["both"] = posterior_from_config({"data": data["both"], "priors": dict(request.priors)}, theory)
    posteriors: dict[str, Posterior] = {k: compile_if_possible(p) for k, p in plain.items()}
    if request.fixed:
        posteriors = {k: restrict(p, request.fixed) for k, p in posteriors.items()}
    seeds = np.random.SeedSequence(seed).spawn(3)
    samples = {
        key: importance_sample(
            p,
            *starting_point(request.start, p),
            np.random.default_rng(child),
            n=request.draws,
            starts=3,
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
        "priors": {p: dict(x) for p, x in request.priors.items() if p not in request.fixed},
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
        "chi2": {k: s.best.chi2 for k, s in samples.items()},
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


def _refuse_shared(posteriors: Sequence[Posterior]) -> None:
    a, b = ({like.info.name for like in p.likelihoods} for p in posteriors)
    common = set(posteriors[0].nuisances) & set(posteriors[1].nuisances)
    if common:
        raise ComparisonError(
            f"tension: both data sets have the calibration {', '.join(sorted(common))}; rename it in one of them "
            "(rename: {old: new}), or they do not stand for themselves"
        )
    if shared := sorted(a & b):
        raise ComparisonError(
            f"tension: {', '.join(shared)} is in both data sets and would agree with itself; give what they have in "
            "common as a fixed parameter (fixed: {tau: 0.0544})"
        )


def starting_point(
    start: Mapping[str, Sequence[float]], posterior: Posterior
) -> tuple[dict[str, float], dict[str, float]]:
    """Return centre and scale of every parameter; those of data sets from their priors where none is given.

    Raises
    ------
    ConfigError
        If a parameter of the theory has no start.
    """
    centre, scale = {}, {}
    for name in posterior.parameters:
        if name in start:
            centre[name], scale[name] = map(float, start[name])
            continue
        if name in posterior.theory.parameters:
            raise ConfigError(f"tension: start: no [centre, scale] for {name}")
        prior = posterior.priors[name]
        if isinstance(prior, Gaussian):
            centre[name], scale[name] = prior.mean, prior.std
        else:
            low, high = prior.support
            centre[name], scale[name] = (low + high) / 2, (high - low) / 20
    return centre, scale


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
