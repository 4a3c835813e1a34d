"""Nested sampling with nautilus, batched over points: samples of equal weight, and the evidence.

Lange (2023, MNRAS 525, 3181): shells of rising likelihood, their bounds learnt by small neural networks,
every point drawn so far kept with its importance weight. nautilus hands over whole batches of points. It
needs the optional dependency ``nautilus-sampler``.

Nested samplers are diagnosed by insertion ranks (Fowlie, Handley & Su 2020) where points replace each other
one by one; shells of an importance sampler have none. Here several independent runs must agree within their
errors, and importance sampling around the maximum, which shares nothing with them but the posterior, is held
beside them where it works.

The evidence is Z = int L(theta) pi(theta) dtheta with the prior normalised where the theory is valid. nautilus draws from the
priors as they are written, L zero where the theory cuts them; the mass left (:mod:`~cmbfit.likelihood.prior_mass`) divides its Z.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmbfit.checkpoint import Checkpoint, damaged
from cmbfit.errors import ConfigError, MissingCodeError, SamplerError
from cmbfit.inference.chain import Chain, identity_of
from cmbfit.inference.evidence import EvidenceResult, EvidenceTask, of_runs
from cmbfit.inference.importance import importance_sample
from cmbfit.inference.prior_transform import PriorTransform
from cmbfit.inference.publish import samples_with_derived
from cmbfit.inference.samplers import Start
from cmbfit.likelihood.posterior import Posterior

log = logging.getLogger(__name__)

_METHOD = "nested sampling (nautilus)"
_PIECE = "nautilus"
_SAVING = 0.05
"""Share of the time that may go into checkpoints."""


@dataclass(frozen=True)
class NestedSettings:
    """How a nested run is made; the defaults are nautilus's own.

    Parameters
    ----------
    n_live : int
        Points that define a shell.
    n_effective : float
        Sampling stops at this effective number of weighted points; ln Z is known to its inverse root.
    batch : int
        Points per call of the posterior.
    networks : int
        Neural networks that learn each bound; 0 uses ellipsoids alone, quicker in few dimensions.
    """

    n_live: int = 2000
    n_effective: float = 10_000
    batch: int = 512
    networks: int = 4

    def __post_init__(self) -> None:
        least = {"n_live": 50, "n_effective": 100, "batch": 1, "networks": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name}: expected at least {low}, found {getattr(self, name)}")

    def check_size(self, n_parameters: int, where: str = "sampler") -> None:
        """Raise :class:`ConfigError` for a single parameter, which nautilus does not take."""
        if n_parameters < 2:
            raise ConfigError(
                f"{where}.kind: nested needs two parameters or more, found one; sample it otherwise"
            )


def run_nested(
    posterior: Posterior,
    settings: NestedSettings,
    seed: int,
    folder: str | Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Chain:
    """Run (or resume) one nested sampling; a log line says how far it is.

    Parameters
    ----------
    posterior : Posterior
    settings : NestedSettings
    seed : int
    folder : path, optional
        For a checkpoint that a killed run goes on from.
    identity : mapping, optional
        What else defines the result, its code for example; with posterior, settings and seed it identifies the checkpoint.

    Returns
    -------
    Chain
        Independent draws of equal weight, one walker a step, with ln Z.

    Raises
    ------
    MissingCodeError
        If nautilus is not installed.
    ResumeError
        If the folder's checkpoint is of other inputs.
    DataError
        If it is damaged.
    SamplerError
        If no point of the prior has a likelihood, or there is only one parameter.
    """
    if len(posterior.parameters) < 2:
        raise SamplerError("nested sampling needs two parameters or more, found one")

    def log_like(theta: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray(theta)).to(posterior.device)
        with torch.no_grad():
            value = posterior.log_prob(x)
            out = torch.where(torch.isfinite(value), value - posterior.log_prior(x), -torch.inf)
        return out.cpu().numpy()

    store = (
        None if folder is None else Checkpoint(folder, identity_of(posterior, settings, seed, identity or {}))
    )
    begun, before = time.perf_counter(), posterior.counts.evaluations
    prior_of = PriorTransform(posterior.parameters, posterior.priors, posterior.joint_priors)
    sampler = _resumed(store, prior_of, log_like, settings, len(posterior.parameters), seed)
    _sample(sampler, settings, store)
    if not math.isfinite(sampler.log_z):
        raise SamplerError("no point of the prior has a likelihood above zero")
    theta, _, log_l = sampler.posterior(equal_weight=True)
    order = np.random.default_rng(seed).permutation(len(theta))  # they come shell by shell
    with torch.no_grad():
        prior = posterior.log_prior(torch.from_numpy(theta).to(posterior.device)).cpu().numpy()
    counts = asdict(posterior.counts)
    counts.pop("evaluations")
    n, d = theta.shape
    return Chain(
        posterior.parameters,
        theta[order, None],
        (log_l + prior)[order, None],
        np.ones(d),
        [(n, [1.0] * d)],
        float(sampler.eta),
        True,
        time.perf_counter() - begun,
        posterior.counts.evaluations - before,
        counts,
        kind="nested",
        independent=True,
        log_z=float(sampler.log_z) - posterior.prior_mass.log_mass,
        log_z_error=1 / math.sqrt(sampler.n_eff),
    )


def _resumed(
    store: Checkpoint | None,
    prior: PriorTransform,
    log_like: Callable[[np.ndarray], np.ndarray],
    settings: NestedSettings,
    n_dim: int,
    seed: int,
) -> Any:
    """Return nautilus's sampler as the checkpoint has it, a new one where there is none."""
    try:
        from nautilus import Sampler  # noqa: PLC0415 (optional, and slow to import)
    except ImportError as error:
        raise MissingCodeError(
            "nested sampling needs nautilus-sampler: pip install cmbfit[nested]"
        ) from error

    def sampler(file: Path | None) -> Any:
        return Sampler(
            prior, log_like, n_dim=n_dim, n_live=settings.n_live, n_batch=settings.batch,
            n_networks=settings.networks, vectorized=True, pass_dict=False, seed=seed, filepath=file,
        )  # fmt: skip

    kept = None if store is None else store.get(_PIECE)
    if store is None or kept is None:
        return sampler(None)
    with damaged(store.path(_PIECE)), tempfile.TemporaryDirectory() as tmp:
        file = Path(tmp) / "nautilus.h5"
        file.write_bytes(kept["hdf5"].tobytes())
        out = sampler(file)
        out.filepath = None
    log.info("resuming after %d evaluations", out.n_like)
    return out


def _sample(sampler: Any, settings: NestedSettings, store: Checkpoint | None) -> None:
    """Run to the end, batch by batch, with checkpoints between batches.

    nautilus's own checkpoint is changed in place: a kill leaves half of it, and an orphan and its successor would write
    the same file.
    """
    saved, cost = time.perf_counter(), 0.0
    done = False
    while not done:
        done = sampler.run(
            n_eff=settings.n_effective, discard_exploration=True, n_like_max=sampler.n_like + 1
        )
        now = time.perf_counter()
        if store is not None and (done or now - saved > cost / _SAVING):
            with tempfile.TemporaryDirectory() as tmp:
                file = Path(tmp) / "nautilus.h5"
                sampler.write(file)
                store.put(_PIECE, hdf5=np.frombuffer(file.read_bytes(), dtype=np.uint8))
            log.info("%s", _progress(sampler, settings))
            saved = time.perf_counter()
            cost = saved - now


def _progress(sampler: Any, settings: NestedSettings) -> str:
    """Say how far it is. The evidence is None while the points of the exploration are already discarded and no new are in."""
    ln_z = "not known yet" if sampler.log_z is None else f"{sampler.log_z:.2f}"
    effective = f"{sampler.n_eff:.0f} effective points of {settings.n_effective:g}"
    return f"{sampler.n_like} evaluations, ln Z {ln_z}, {effective if sampler.explored else 'exploring'}"


class NestedSampler:
    """nautilus from the whole prior; see :class:`~cmbfit.inference.samplers.Sampler`."""

    settings = NestedSettings

    def sample(  # noqa: D102 (the protocol's)
        self,
        posterior: Posterior,
        start: Start,  # noqa: ARG002 (the prior is the start)
        settings: NestedSettings,
        seed: np.random.SeedSequence,
        folder: str | Path,
        identity: Mapping[str, Any],
        *,
        progress: bool = True,  # noqa: ARG002 (the log says it)
    ) -> Chain:
        number = int(seed.generate_state(1)[0])
        return run_nested(posterior, settings, number, folder, identity)


SAMPLER = NestedSampler()


@dataclass(frozen=True)
class NestedEvidenceSettings(NestedSettings):
    """How an evidence is computed by independent nested runs.

    Parameters
    ----------
    runs : int
        At least 2: their scatter is the diagnosis.
    """

    n_live: int = 500
    n_effective: float = 2500
    batch: int = 256
    networks: int = 0
    runs: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.runs < 2:
            raise ConfigError(f"runs: expected at least 2, found {self.runs}")


class NestedEvidence:
    """Evidence by independent nested runs, or of the fit's own; see :class:`~cmbfit.inference.evidence.EvidenceMethod`."""

    settings = NestedEvidenceSettings

    def compute(self, task: EvidenceTask, settings: NestedEvidenceSettings) -> EvidenceResult:
        """Return ln Z of the fit's own chains where they measured it, else of new runs with importance sampling beside."""
        if task.samples is not None and task.samples.log_z and not task.fixed:
            return of_runs(f"{_METHOD}, the fit's own runs", task.samples, [{} for _ in task.samples.log_z])
        *children, last = np.random.SeedSequence(task.seed).spawn(settings.runs + 1)
        run = NestedSettings(**{k: v for k, v in asdict(settings).items() if k != "runs"})
        chains = [
            run_nested(
                task.posterior,
                run,
                int(child.generate_state(1)[0]),
                None if task.folder is None else task.folder / f"run{i}",
                {"code": task.code},
            )
            for i, child in enumerate(children)
        ]
        samples = samples_with_derived(task.posterior, chains)
        costs = [{"evaluations": c.evaluations, "seconds": c.seconds} for c in chains]
        beside = _by_importance(task, np.random.default_rng(last))
        return of_runs(_METHOD, samples, costs, importance_sampling=beside)


METHOD = NestedEvidence()


def _by_importance(task: EvidenceTask, rng: np.random.Generator) -> dict[str, float] | None:
    try:
        got = importance_sample(task.posterior, task.start.centre, task.start.scale, rng, starts=4)
    except (SamplerError, np.linalg.LinAlgError):
        return None
    return {"log_z": got.log_z, "log_z_error": got.log_z_error}
