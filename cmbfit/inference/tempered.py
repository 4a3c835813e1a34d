"""Evidence by tempering, and independent samples with it: :mod:`cmbfit.inference.tempering` as a method and a sampler.

Runs are independent, and their scatter is part of the diagnosis. Where fewer than 5% of a run's draws count, no mixture of a
few t distributions has the posterior's shape: the method refuses, and as an evidence method it leaves the field to nested
sampling. With ``mixture: false`` the particles themselves are the samples, whatever the shape, and ln Z is the tempering's own:
ten times less sure, and to be believed where independent runs agree. A mode that no particle found is in nobody's stated error: not in this one, nor in nautilus's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.checkpoint import Checkpoint
from cmbfit.errors import ConfigError, MissingCodeError, SamplerError
from cmbfit.inference.chain import Chain, identity_of
from cmbfit.inference.evidence import EvidenceResult, EvidenceTask, of_runs
from cmbfit.inference.importance import LEAST_FRACTION, WeightedSamples, evaluate
from cmbfit.inference.nested import METHOD as NESTED
from cmbfit.inference.publish import samples_with_derived
from cmbfit.inference.samplers import Start
from cmbfit.inference.tempering import equal_weight, settle, temper, weigh_draws
from cmbfit.likelihood.posterior import Posterior

log = logging.getLogger(__name__)

_METHOD = "tempering"

_POINTS_OF_ONE = 30
"""Times the number of parameters: the particles that a covariance needs."""


@dataclass(frozen=True)
class TemperedSettings:
    """How a posterior is tempered.

    Parameters
    ----------
    particles : int
        At once; at least 30 a parameter are taken.
    moves : int
        Of each particle at each level, by turns independent draws and local steps.
    components : int
        Of the mixture of t distributions, at most.
    draws : int
        Of the last mixture: the error of ln Z falls with the inverse root of their effective number.
    mixture : bool
        Whether these draws are the samples; else the particles are.
    """

    particles: int = 2000
    moves: int = 4
    components: int = 16
    draws: int = 20_000
    mixture: bool = True

    def __post_init__(self) -> None:
        least = {"particles": 100, "moves": 2, "components": 1, "draws": 1000}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name}: expected at least {low}, found {getattr(self, name)}")


def run_tempered(
    posterior: Posterior,
    settings: TemperedSettings,
    seed: int,
    folder: str | Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> WeightedSamples:
    """Temper (or go on tempering) a posterior and return weighted draws with its evidence.

    Parameters
    ----------
    posterior : Posterior
    settings : TemperedSettings
    seed : int
    folder : path, optional
        For a checkpoint that a killed run goes on from.
    identity : mapping, optional
        What else defines the result, its code for example; with posterior, settings and seed it identifies the checkpoint.

    Raises
    ------
    ResumeError
        If the folder's checkpoint is of other inputs.
    DataError
        If it is damaged.
    SamplerError
        If no point of the prior has a likelihood, or fewer than 5% of the draws count.
    """
    store = (
        None if folder is None else Checkpoint(folder, identity_of(posterior, settings, seed, identity or {}))
    )
    particles = max(settings.particles, _POINTS_OF_ONE * len(posterior.parameters))
    try:
        cloud = temper(posterior, particles, settings.moves, settings.components, seed, store)
        if not settings.mixture:
            return settle(posterior, cloud, settings.moves, settings.components, seed)
        weighed = weigh_draws(posterior, cloud, settings.draws, settings.components, seed)
    except np.linalg.LinAlgError as error:
        raise SamplerError(
            f"tempering: the particles span no volume ({error}); use nested sampling"
        ) from error
    if weighed.ess_fraction < LEAST_FRACTION:
        raise SamplerError(
            f"tempering: only {weighed.ess_fraction:.1%} of the draws count, less than {LEAST_FRACTION:.0%}; the posterior's "
            "shape is not that of a few t distributions: use nested sampling, or more components"
        )
    return weighed


def _chain(posterior: Posterior, weighed: WeightedSamples, seed: int, begun: float, before: int) -> Chain:
    """Return draws of equal weight as a chain."""
    rows = equal_weight(weighed, np.random.default_rng([seed, 1]))
    theta = weighed.points[rows]
    n, d = theta.shape
    counts = asdict(posterior.counts)
    counts.pop("evaluations")
    return Chain(
        posterior.parameters,
        theta[:, None],
        (weighed.log_like[rows] + evaluate(posterior, theta)[1])[:, None],
        np.ones(d),
        [(n, [1.0] * d)],
        weighed.ess_fraction,
        True,
        time.perf_counter() - begun,
        posterior.counts.evaluations - before,
        counts,
        kind="tempered",
        independent=True,
        log_z=weighed.log_z,
        log_z_error=weighed.log_z_error,
    )


class TemperedSampler:
    """Independent draws and ln Z from the whole prior; see :class:`~cmbfit.inference.samplers.Sampler`."""

    settings = TemperedSettings

    def sample(  # noqa: D102 (the protocol's)
        self,
        posterior: Posterior,
        start: Start,  # noqa: ARG002 (the prior is the start)
        settings: TemperedSettings,
        seed: np.random.SeedSequence,
        folder: str | Path,
        identity: Mapping[str, Any],
        *,
        progress: bool = True,  # noqa: ARG002 (the log says it)
    ) -> Chain:
        begun, before = time.perf_counter(), posterior.counts.evaluations
        number = int(seed.generate_state(1)[0])
        weighed = run_tempered(posterior, settings, number, folder, identity)
        return _chain(posterior, weighed, number, begun, before)


SAMPLER = TemperedSampler()


@dataclass(frozen=True)
class TemperedEvidenceSettings(TemperedSettings):
    """How an evidence is computed by independent runs.

    Parameters
    ----------
    runs : int
        At least 2: their scatter is the diagnosis.
    """

    runs: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.runs < 2:
            raise ConfigError(f"runs: expected at least 2, found {self.runs}")


class TemperedEvidence:
    """Evidence by independent tempered runs, or of the fit's own; see :class:`~cmbfit.inference.evidence.EvidenceMethod`.

    What it refuses nested sampling takes over, where nautilus is installed, and the result says so.
    """

    settings = TemperedEvidenceSettings

    def compute(self, task: EvidenceTask, settings: TemperedEvidenceSettings) -> EvidenceResult:
        """Return ln Z of the fit's own chains where they measured it, else of new runs."""
        if task.samples is not None and task.samples.log_z and not task.fixed:
            return of_runs("the fit's own runs", task.samples, [{} for _ in task.samples.log_z])
        run = TemperedSettings(**{k: v for k, v in asdict(settings).items() if k != "runs"})
        children = np.random.SeedSequence(task.seed).spawn(settings.runs)
        try:
            found = [self._run(task, run, i, child) for i, child in enumerate(children)]
        except SamplerError as error:
            return _by_nested(task, str(error))
        chains, weighed = zip(*found, strict=True)
        samples = samples_with_derived(task.posterior, chains)
        costs = [
            {"evaluations": c.evaluations, "seconds": c.seconds, "ess_fraction": w.ess_fraction}
            for c, w in found
        ]
        return of_runs(_METHOD, samples, costs, ess_fraction=min(w.ess_fraction for w in weighed))

    def _run(
        self, task: EvidenceTask, run: TemperedSettings, i: int, child: np.random.SeedSequence
    ) -> tuple[Chain, WeightedSamples]:
        posterior, seed = task.posterior, int(child.generate_state(1)[0])
        begun, before = time.perf_counter(), posterior.counts.evaluations
        folder = None if task.folder is None else task.folder / f"run{i}"
        weighed = run_tempered(posterior, run, seed, folder, {"code": task.code})
        return _chain(posterior, weighed, seed, begun, before), weighed


METHOD = TemperedEvidence()


def _by_nested(task: EvidenceTask, why: str) -> EvidenceResult:
    """Let nautilus do what tempering refused, and say so."""
    log.warning("%s: nested sampling takes over", why)
    try:
        found = NESTED.compute(task, NESTED.settings())
    except MissingCodeError as error:
        raise SamplerError(f"{why}; {error}") from error
    method = f"{found.method}, as tempering refused"
    return EvidenceResult(
        method,
        found.log_z,
        found.log_z_error,
        found.why_not,
        {**found.diagnosis, "refused": why},
        found.samples,
    )
