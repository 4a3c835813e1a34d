"""Evidence and posterior by importance nested sampling with nautilus, batched over points.

Lange (2023, MNRAS 525, 3181): shells of rising likelihood, their bounds learnt by small neural networks,
every point drawn so far kept with its importance weight. nautilus hands over whole batches of points. It
needs the optional dependency ``nautilus-sampler``.

Nested samplers are diagnosed by insertion ranks (Fowlie, Handley & Su 2020) where points replace each other
one by one; shells of an importance sampler have none. Here several independent runs must agree within their
errors, and importance sampling around the maximum, which shares nothing with them but the posterior, is held
beside them where it works.

The evidence is Z = int L(theta) pi(theta) dtheta with the prior normalised over its whole support; where
the theory's box cuts the prior, L counts as zero.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
import torch

from cmbfit.errors import ConfigError, SamplerError
from cmbfit.inference.importance import importance_sample
from cmbfit.inference.products import Samples
from cmbfit.inference.publish import derived_columns, ranges_of
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Gaussian, JointGaussian, Prior, Uniform

log = logging.getLogger(__name__)


class PriorTransform:
    """The unit cube mapped to parameters such that uniform points follow the prior.

    Parameters
    ----------
    parameters : sequence of str
    priors : mapping of str to Prior
        Uniform or Gaussian.
    joint : sequence of JointGaussian
        Replace the priors of the parameters that they name.

    Raises
    ------
    ConfigError
        For a prior whose inverse distribution is not known.
    """

    def __init__(
        self, parameters: Sequence[str], priors: Mapping[str, Prior], joint: Sequence[JointGaussian] = ()
    ) -> None:
        self._parameters = tuple(parameters)
        jointly = {name for prior in joint for name in prior.names}
        self._single = {p: priors[p] for p in parameters if p not in jointly}
        for name, prior in self._single.items():
            if not isinstance(prior, Uniform | Gaussian):
                raise ConfigError(f"{name}: nested sampling needs a uniform or Gaussian prior, found {prior}")
        self._joint = tuple(joint)

    def __call__(
        self,
        cube: np.ndarray,  # shape: (n, n_parameters), in (0, 1)
    ) -> np.ndarray:  # shape: (n, n_parameters)
        """Return the parameters of points of the unit cube."""
        theta = np.empty_like(cube)
        column = {p: i for i, p in enumerate(self._parameters)}
        for name, prior in self._single.items():
            u = cube[..., column[name]]
            if isinstance(prior, Uniform):
                theta[..., column[name]] = prior.low + (prior.high - prior.low) * u
            elif isinstance(prior, Gaussian):
                theta[..., column[name]] = prior.mean + prior.std * scipy.special.ndtri(u)
        for joint in self._joint:
            columns = [column[name] for name in joint.names]
            factor = np.linalg.cholesky(np.array(joint.covariance))
            theta[..., columns] = np.array(joint.mean) + scipy.special.ndtri(cube[..., columns]) @ factor.T
        return theta


@dataclass(frozen=True)
class Evidence:
    """What a nested run found.

    Attributes
    ----------
    log_z : float
        ln Z.
    log_z_error : float
        Its statistical error, from the effective number of points: 1/sqrt(n_effective).
    samples : Samples
        Points of equal weight, of one run, for the same products as a chain's.
    n_effective : float
        Effective number of the weighted points behind them.
    evaluations : int
    seconds : float
    """

    log_z: float
    log_z_error: float
    samples: Samples
    n_effective: float
    evaluations: int
    seconds: float


def run_nested(
    posterior: Posterior,
    seed: int,
    *,
    n_live: int = 2000,
    n_effective: float = 10_000,
    batch: int = 512,
    networks: int = 4,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Evidence:
    """Compute the evidence of a posterior, and its samples.

    Parameters
    ----------
    posterior : Posterior
    seed : int
    n_live : int
        Points that define a shell.
    n_effective : float
        Sampling stops at this effective number of points.
    batch : int
        Points per call of the posterior.
    networks : int
        Neural networks that learn each bound; 0 uses ellipsoids alone, quicker in few dimensions.
    checkpoint : path, optional
        HDF5 file (``.h5``) that a killed run goes on from.

    Raises
    ------
    SamplerError
        If nautilus is not installed, or no point of the prior has a likelihood.
    """
    try:
        from nautilus import Sampler  # noqa: PLC0415 (optional, and slow to import)
    except ImportError as error:
        raise SamplerError("nested sampling needs nautilus-sampler: pip install cmbfit[nested]") from error

    def log_like(theta: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray(theta)).to(posterior.device)
        with torch.no_grad():
            value = posterior.log_prob(x)
            out = torch.where(torch.isfinite(value), value - posterior.log_prior(x), -torch.inf)
        return out.cpu().numpy()

    begun = time.perf_counter()
    before = posterior.counts.evaluations
    transform = PriorTransform(posterior.parameters, posterior.priors, posterior.joint_priors)
    sampler: Any = Sampler(
        transform,
        log_like,
        n_dim=len(posterior.parameters),
        n_live=n_live,
        n_batch=batch,
        n_networks=networks,
        vectorized=True,
        pass_dict=False,
        seed=seed,
        filepath=None if checkpoint is None else str(checkpoint),
    )
    sampler.run(n_eff=n_effective, discard_exploration=True, verbose=progress)
    log_z = float(sampler.log_z)
    if not math.isfinite(log_z):
        raise SamplerError("no point of the prior has a likelihood above zero")
    theta, _, log_l = sampler.posterior(equal_weight=True)
    with torch.no_grad():
        prior = posterior.log_prior(torch.from_numpy(theta).to(posterior.device)).cpu().numpy()
    derived = derived_columns(posterior, theta[:, : len(posterior.theory.parameters)])
    samples = Samples(
        (*posterior.parameters, *derived),
        [np.column_stack([theta, *derived.values()])],
        [log_l + prior],
        len(posterior.parameters),
        ranges_of(posterior),
    )
    return Evidence(
        log_z,
        1 / math.sqrt(sampler.n_eff),
        samples,
        float(sampler.n_eff),
        posterior.counts.evaluations - before,
        time.perf_counter() - begun,
    )


@dataclass(frozen=True)
class EvidenceSettings:
    """How an evidence is computed: fields of a configuration's ``comparison.evidence``.

    Attributes
    ----------
    runs : int
        Independent nested runs, at least 2: their scatter is the diagnosis.
    n_live, n_effective, batch, networks
        See :func:`run_nested`; `n_effective` is that of each run.
    """

    runs: int = 2
    n_live: int = 500
    n_effective: float = 2500
    batch: int = 256
    networks: int = 0

    def __post_init__(self) -> None:
        if self.runs < 2 or self.n_live < 50 or self.n_effective < 100 or self.batch < 1 or self.networks < 0:
            raise ConfigError(
                f"evidence: expected runs >= 2, n_live >= 50, n_effective >= 100, batch >= 1 and networks >= 0, found {self}"
            )


@dataclass(frozen=True)
class CombinedEvidence:
    """Independent nested runs joined.

    Attributes
    ----------
    runs : tuple of Evidence
    log_z : float
        Of the mean Z, weighted by the runs' effective numbers.
    log_z_error : float
        Of that mean; never less than what the runs' scatter says.
    scatter : float
        chi2 of the runs' ln Z about their mean over its degrees of freedom: about 1.
    samples : Samples
        Points of equal weight, one ensemble a run.
    importance : tuple of (float, float) or None
        ln Z and its error by importance sampling around the maximum; None where that fails.
    """

    runs: tuple[Evidence, ...]
    log_z: float
    log_z_error: float
    scatter: float
    samples: Samples
    importance: tuple[float, float] | None

    def record(self) -> dict[str, Any]:
        """Return the product, JSON-able: ln Z, error, diagnosis, cost and the means and widths."""
        x = self.samples.joined
        return {
            "method": "nested sampling (nautilus)",
            "log_z": self.log_z,
            "log_z_error": self.log_z_error,
            "scatter_chi2": self.scatter,
            "importance_sampling": None
            if self.importance is None
            else {"log_z": self.importance[0], "log_z_error": self.importance[1]},
            "runs": [
                {k: getattr(r, k) for k in ("log_z", "log_z_error", "n_effective", "evaluations", "seconds")}
                for r in self.runs
            ],
            "evaluations": sum(r.evaluations for r in self.runs),
            "seconds": sum(r.seconds for r in self.runs),
            "parameters": {
                name: {"mean": float(column.mean()), "std": float(column.std(ddof=1))}
                for name, column in zip(self.samples.names, x.T, strict=True)
            },
        }


def compute_evidence(
    posterior: Posterior,
    start: Mapping[str, float],
    scale: Mapping[str, float],
    settings: EvidenceSettings,
    seed: int,
    *,
    checkpoint: str | Path | None = None,
) -> CombinedEvidence:
    """Compute an evidence by independent nested runs, and once more by importance sampling.

    Parameters
    ----------
    posterior : Posterior
    start, scale : mapping of str to float
        For importance sampling's search of the maximum.
    settings : EvidenceSettings
    seed : int
    checkpoint : path, optional
        Folder of the runs' HDF5 checkpoints.
    """
    children = np.random.SeedSequence(seed).spawn(settings.runs + 1)
    runs = []
    for i, child in enumerate(children[:-1]):
        file = None if checkpoint is None else Path(checkpoint) / f"run{i}.h5"
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        runs.append(
            run_nested(
                posterior,
                int(child.generate_state(1)[0]),
                n_live=settings.n_live,
                n_effective=settings.n_effective,
                batch=settings.batch,
                networks=settings.networks,
                checkpoint=file,
            )
        )
    return combine_runs(runs, _by_importance(posterior, start, scale, np.random.default_rng(children[-1])))


def combine_runs(runs: Sequence[Evidence], importance: tuple[float, float] | None = None) -> CombinedEvidence:
    """Join independent runs; the error is the larger one of what they state and what they scatter by."""
    log_z = np.array([r.log_z for r in runs])
    error = np.array([r.log_z_error for r in runs])
    weights = error**-2 / (error**-2).sum()
    top = log_z.max()
    joined = float(top + math.log((weights * np.exp(log_z - top)).sum()))
    scatter = float((((log_z - joined) / error) ** 2).sum() / (len(runs) - 1))
    stated = float((error**-2).sum() ** -0.5)
    first = runs[0].samples
    samples = Samples(
        first.names,
        [v for r in runs for v in r.samples.values],
        [v for r in runs for v in r.samples.log_prob],
        first.n_sampled,
        first.ranges,
    )
    return CombinedEvidence(
        tuple(runs), joined, stated * max(1.0, math.sqrt(scatter)), scatter, samples, importance
    )


def _by_importance(
    posterior: Posterior, start: Mapping[str, float], scale: Mapping[str, float], rng: np.random.Generator
) -> tuple[float, float] | None:
    try:
        got = importance_sample(posterior, start, scale, rng, starts=4)
    except (SamplerError, np.linalg.LinAlgError) as error:
        log.info("no importance sampling: %s", error)
        return None
    return got.log_z, got.log_z_error
