"""What a sampler hands on, and the loop that every sampler shares: blocks, checkpoints, stopping."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from cmbfit.errors import ConfigError, SamplerError
from cmbfit.inference.chain_store import Block, ChainStore
from cmbfit.inference.trace import Trace

if TYPE_CHECKING:
    from cmbfit.likelihood.posterior import Posterior

log = logging.getLogger(__name__)


@dataclass
class Chain:
    """The chain of one independent ensemble.

    Attributes
    ----------
    parameters : tuple of str
    samples : numpy.ndarray, shape (kept steps, walkers, n_parameters)
        Every `thin`-th step.
    log_prob : numpy.ndarray, shape (kept steps, walkers)
    tau : numpy.ndarray, shape (n_parameters,)
        Integrated autocorrelation time in steps.
    tau_history : list of (int, list of float)
        Steps and tau at each check.
    acceptance : float
        Mean acceptance fraction.
    converged : bool
    seconds : float
        Wall time of the sampling in this process.
    evaluations : int
        Posterior evaluations in this process.
    counts : dict
        Points with probability zero, by reason.
    thin : int
        Steps from one kept step to the next; above 1 only in chains too long for the memory.
    kind : str
        The sampler: "emcee", "hmc", ...
    independent : bool
        Steps are independent draws: there is no burn-in.
    log_z, log_z_error : float or None
        ln Z and its statistical error, where the sampler measures them.
    """

    parameters: tuple[str, ...]
    samples: np.ndarray
    log_prob: np.ndarray
    tau: np.ndarray
    tau_history: list[tuple[int, list[float]]]
    acceptance: float
    converged: bool
    seconds: float
    evaluations: int
    counts: dict[str, int]
    thin: int = 1
    kind: str = "emcee"
    independent: bool = False
    log_z: float | None = None
    log_z_error: float | None = None

    @property
    def steps(self) -> int:
        """Number of steps, kept or not."""
        return len(self.samples) * self.thin


class Stopping(Protocol):
    """The settings of a sampler that goes by steps until its chain is long enough."""

    @property
    def walkers(self) -> int: ...  # noqa: D102
    @property
    def max_steps(self) -> int: ...  # noqa: D102
    @property
    def block_steps(self) -> int: ...  # noqa: D102
    @property
    def tau_multiple(self) -> float: ...  # noqa: D102
    @property
    def tau_rtol(self) -> float: ...  # noqa: D102


def check_stopping(settings: Stopping) -> None:
    """Raise :class:`ConfigError` for numbers with which no chain can run."""
    if settings.walkers < 4 or settings.walkers % 2:
        raise ConfigError(f"walkers: expected an even number of at least 4, found {settings.walkers}")
    if not 0 < settings.block_steps <= settings.max_steps:
        raise ConfigError(
            f"block_steps: expected 0 < block_steps <= max_steps, found {settings.block_steps}, {settings.max_steps}"
        )


def defining(settings: Any) -> dict[str, Any]:
    """Return the settings that define a chain: all but `max_steps`, which only says when to give up."""
    return {k: v for k, v in asdict(settings).items() if k != "max_steps"}


def identity_of(
    posterior: Posterior, settings: Any, seed: int, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a checkpoint is made of: the posterior, the sampler's settings, the seed and what else the caller names.

    Raises
    ------
    ConfigError
        If nothing says what the posterior is: another one's checkpoint would be taken for its own.
    """
    own = {"posterior": posterior.settings()} if hasattr(posterior, "settings") else {}
    if not own and not identity:
        raise ConfigError(
            "identity: the posterior does not describe itself (no settings()), and a checkpoint needs to know whose it is; "
            "name its data, priors and code"
        )
    return {
        "parameters": list(posterior.parameters),
        "sampler": defining(settings),
        "seed": seed,
        **identity,
        **own,
    }


class Stepper(Protocol):
    """A sampler that advances by blocks of steps."""

    kind: str

    def prepare(self) -> Block:
        """Return a block of no steps with the state before the first one (after any warm-up)."""
        ...

    def advance(self, last: Block, steps: int) -> Block:
        """Return the next block, from the state at the end of the last one alone."""
        ...


def run_sampler(
    sampler: Stepper,
    posterior: Posterior,
    settings: Any,
    seed: int,
    checkpoint: str | Path,
    identity: Mapping[str, Any],
    *,
    progress: bool = True,
    trace: Callable[[], Trace] = Trace,
) -> Chain:
    """Run (or resume) one ensemble until its chain is long enough.

    Every parameter's chain must be `tau_multiple` times longer than its integrated autocorrelation
    time (Goodman & Weare 2010), and tau the same within `tau_rtol` at two checks in a row. Checks
    follow each block, in long chains each tenth of the length.

    Parameters
    ----------
    sampler : Stepper
    posterior : Posterior
    settings : EnsembleSettings or HmcSettings
    seed : int
    checkpoint : path
        Folder of the checkpoint blocks.
    identity : mapping
        What defines the posterior; with settings and seed it identifies the checkpoint.
    progress : bool
        Show a tqdm bar on a terminal: steps until the chain is long enough, tau, effective samples, rate.
        The same goes to the log after each block.
    trace : callable
        Makes the :class:`~cmbfit.inference.trace.Trace` that holds the samples.

    Raises
    ------
    ResumeError
        If the checkpoint belongs to other inputs.
    SamplerError
        If `max_steps` are reached before convergence; the checkpoint is kept.
    """
    store = ChainStore(checkpoint, identity_of(posterior, settings, seed, identity))
    evaluations_before = posterior.counts.evaluations
    begun = time.perf_counter()
    progress_of = _Progress(posterior.parameters, settings, trace())
    done = 0
    last, index = store.read(0), 0
    if last is None:
        last = sampler.prepare()
        store.append(0, last)
    else:
        while (block := store.read(index + 1)) is not None:
            last, index = block, index + 1
            progress_of.add(block)
        log.info("resuming after %d steps", progress_of.trace.steps)
    # None: shown on a terminal only, not in a log
    with tqdm(initial=progress_of.trace.steps, unit="step", disable=None if progress else True) as bar:
        while not progress_of.converged and progress_of.trace.steps < settings.max_steps:
            last, index = sampler.advance(last, settings.block_steps), index + 1
            store.append(index, last)
            progress_of.add(last)
            seconds = time.perf_counter() - begun
            done += settings.block_steps
            rate = (posterior.counts.evaluations - evaluations_before) / seconds
            tau, ess, needed = progress_of.tau_max, progress_of.effective, progress_of.needed
            bar.total = needed  # tqdm's own estimate of the time left follows
            bar.update(settings.block_steps)
            bar.set_postfix(tau=f"{tau:.1f}", ess=f"{ess:.0f}", evals_per_s=f"{rate:.0f}")
            log.info(
                "%d steps of about %d, tau %.1f, %.0f effective samples, %.0f evaluations/s, about %.0f s left",
                progress_of.trace.steps, needed, tau, ess, rate,
                max(0, needed - progress_of.trace.steps) * seconds / done,
            )  # fmt: skip
    steps = progress_of.trace.steps
    if not progress_of.converged:
        raise SamplerError(
            f"not converged after {steps} steps: the longest tau is {progress_of.tau_max:.0f} steps "
            f"and {settings.tau_multiple:g} tau are required; raise max_steps (the checkpoint goes on from here)"
        )
    samples, log_prob = progress_of.trace.arrays()
    counts = asdict(posterior.counts)
    counts.pop("evaluations")
    return Chain(
        posterior.parameters,
        samples,
        log_prob,
        np.array(progress_of.history[-1][1]),
        progress_of.history,
        float(progress_of.accepted / (steps * settings.walkers)),
        True,
        time.perf_counter() - begun,
        posterior.counts.evaluations - evaluations_before,
        counts,
        progress_of.trace.thin,
        sampler.kind,
    )


class _Progress:
    """Samples so far, tau at the checks so far, and whether they suffice."""

    def __init__(self, parameters: tuple[str, ...], settings: Stopping, trace: Trace) -> None:
        self.parameters, self.settings, self.trace = parameters, settings, trace
        self.history: list[tuple[int, list[float]]] = []
        self.accepted = 0
        self.converged = False

    @property
    def tau_max(self) -> float:
        """The longest tau; NaN where a parameter has not moved yet."""
        return float(np.max(self.history[-1][1]))

    @property
    def effective(self) -> float:
        """Effective samples after the burn-in that tau leaves out."""
        return 0.8 * self.trace.steps * self.settings.walkers / self.tau_max

    @property
    def needed(self) -> int:
        """Steps after which the chain is long enough, as far as tau is known; tau is low in a short chain."""
        wanted = self.settings.tau_multiple * self.tau_max
        if not np.isfinite(wanted):
            return self.settings.max_steps
        return min(self.settings.max_steps, max(self.trace.steps, int(wanted)))

    def add(self, block: Block) -> None:
        self.trace.append(block.chain, block.log_prob)
        self.accepted += int(block.accepted.sum())
        steps = self.trace.steps
        # in a long chain not each block: tau of the whole chain again and again would take most of the time
        due = not self.history or steps >= 1.1 * self.history[-1][0] or steps < 10 * len(block.chain)
        if not (due or steps >= self.settings.max_steps):
            return
        self.history.append((steps, self.trace.autocorrelation_time().tolist()))
        if len(self.history) > 1:
            (_, before), (_, now) = self.history[-2:]
            tau, tau_before = np.array(now), np.array(before)
            stable = np.all(np.abs(tau - tau_before) <= self.settings.tau_rtol * tau)
            enough = steps > self.settings.tau_multiple * tau.max()
            self.converged = bool(np.all(np.isfinite(tau)) and enough and stable)
