"""emcee over a batched posterior: vectorised over walkers, run until the chain is long enough.

emcee's half-ensemble updates call the posterior with walkers/2 points at a time (Foreman-Mackey et
al. 2013, PASP 125, 306). The stopping rule is the integrated autocorrelation time (Goodman & Weare
2010): every parameter's chain must be `tau_multiple` times longer than its tau, and tau stable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import emcee
import numpy as np
import torch
from tqdm import tqdm

from cmbfit.errors import ConfigError, SamplerError
from cmbfit.inference.checkpoint import Block, ChainStore
from cmbfit.likelihood.posterior import Posterior

log = logging.getLogger(__name__)

# Differential evolution with snooker updates decorrelates correlated posteriors about three times
# faster than the stretch move at these dimensions.
_MOVES = {
    "differential_evolution": lambda: [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)],
    "stretch": lambda: [(emcee.moves.StretchMove(), 1.0)],
}


@dataclass(frozen=True)
class EnsembleSettings:
    """How an ensemble is run.

    Parameters
    ----------
    walkers : int
        Even, at least twice the number of parameters; the batch on the device is half of it.
    max_steps : int
        Give up after so many steps.
    block_steps : int
        Steps between checkpoints, each with a convergence check.
    tau_multiple : float
        Steps required, in units of the largest autocorrelation time.
    tau_rtol : float
        Largest relative change of any tau between two checks that counts as stable.
    moves : str
        `differential_evolution` (with snooker updates) or `stretch`.
    """

    walkers: int = 128
    max_steps: int = 50_000
    block_steps: int = 500
    tau_multiple: float = 50.0
    tau_rtol: float = 0.05
    moves: str = "differential_evolution"

    def __post_init__(self) -> None:
        if self.moves not in _MOVES:
            raise ConfigError(f"moves: expected one of {', '.join(_MOVES)}, found {self.moves!r}")
        if self.walkers < 4 or self.walkers % 2:
            raise ConfigError(f"walkers: expected an even number of at least 4, found {self.walkers}")
        if not 0 < self.block_steps <= self.max_steps:
            raise ConfigError(
                f"expected 0 < block_steps <= max_steps, found {self.block_steps}, {self.max_steps}"
            )


@dataclass
class Chain:
    """An ensemble's chain.

    Attributes
    ----------
    parameters : tuple of str
    samples : numpy.ndarray, shape (steps, walkers, n_parameters)
    log_prob : numpy.ndarray, shape (steps, walkers)
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

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.samples)


def autocorrelation_time(
    samples: np.ndarray,  # shape: (steps, walkers, n_parameters)
) -> np.ndarray:  # shape: (n_parameters,)
    """Return emcee's estimate of the integrated autocorrelation time, in steps.

    The first fifth is left out as burn-in, so that a start away from the typical set does not count
    as correlation. The estimate is biased low until the chain is some tens of tau long.
    """
    kept = samples[len(samples) // 5 :]
    return emcee.autocorr.integrated_time(kept, tol=0, quiet=True)


def initial_walkers(
    posterior: Posterior,
    centre: Mapping[str, float],
    scale: Mapping[str, float],
    walkers: int,
    rng: np.random.Generator,
) -> np.ndarray:  # shape: (walkers, n_parameters)
    """Draw starting points from independent normals, redrawing those of zero probability.

    Raises
    ------
    SamplerError
        If after 100 rounds some walkers still have zero probability.
    """
    mean = np.array([centre[p] for p in posterior.parameters])
    width = np.array([scale[p] for p in posterior.parameters])
    points = np.empty((0, len(mean)))
    for _ in range(100):
        draw = mean + width * rng.standard_normal((walkers, len(mean)))
        with torch.no_grad():
            good = torch.isfinite(posterior.log_prob(torch.from_numpy(draw).to(posterior.device)))
        points = np.concatenate([points, draw[good.cpu().numpy()]])[:walkers]
        if len(points) == walkers:
            return points
    raise SamplerError(
        f"only {len(points)} of {walkers} starting points have a non-zero probability; "
        f"check the starting centre {dict(centre)} against the priors"
    )


def run_ensemble(
    posterior: Posterior,
    start: np.ndarray,  # shape: (walkers, n_parameters)
    settings: EnsembleSettings,
    seed: int,
    checkpoint: str | Path,
    identity: Mapping[str, Any],
    *,
    progress: bool = True,
) -> Chain:
    """Run (or resume) one ensemble until it has converged.

    Parameters
    ----------
    posterior : Posterior
    start : numpy.ndarray, shape (walkers, n_parameters)
        Starting points of a fresh run.
    settings : EnsembleSettings
    seed : int
        Seeds emcee's own generator; the same seed gives the same chain.
    checkpoint : path
        Folder of the checkpoint blocks.
    identity : mapping
        What defines the posterior; with settings and seed it identifies the checkpoint.
    progress : bool
        Show a tqdm bar with tau and rate.

    Raises
    ------
    ResumeError
        If the checkpoint belongs to other inputs.
    SamplerError
        If `max_steps` are reached before convergence; the checkpoint is kept.
    """
    n_parameters = len(posterior.parameters)
    if settings.walkers < 2 * n_parameters:
        raise ConfigError(
            f"walkers: {n_parameters} parameters need at least {2 * n_parameters}, found {settings.walkers}"
        )
    full_identity = {
        "parameters": list(posterior.parameters),
        "sampler": {k: v for k, v in asdict(settings).items() if k != "max_steps"},
        "seed": seed,
        **identity,
    }
    store = ChainStore(checkpoint, full_identity)
    blocks = store.load()
    if blocks:
        log.info("resuming after %d steps", sum(len(b.chain) for b in blocks))

    def log_prob(theta: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return posterior.log_prob(torch.from_numpy(theta).to(posterior.device)).cpu().numpy()

    sampler = emcee.EnsembleSampler(
        settings.walkers, n_parameters, log_prob, vectorize=True, moves=_MOVES[settings.moves]()
    )
    if blocks:
        state = emcee.State(blocks[-1].chain[-1], log_prob=blocks[-1].log_prob[-1])
        sampler.random_state = blocks[-1].random_state
    else:
        state = emcee.State(start)
        sampler.random_state = np.random.RandomState(seed).get_state()
    history: list[tuple[int, list[float]]] = []
    evaluations_before = posterior.counts.evaluations
    begun = time.perf_counter()
    converged = _converged(blocks, settings, history)
    with tqdm(total=settings.max_steps, initial=_steps(blocks), unit="step", disable=not progress) as bar:
        while not converged and _steps(blocks) < settings.max_steps:
            sampler.reset()
            state = sampler.run_mcmc(state, settings.block_steps)
            block = Block(
                sampler.get_chain(),
                sampler.get_log_prob(),
                sampler.backend.accepted.astype(np.int64),
                sampler.random_state,
            )
            store.append(len(blocks), block)
            blocks.append(block)
            converged = _converged(blocks, settings, history)
            rate = (posterior.counts.evaluations - evaluations_before) / (time.perf_counter() - begun)
            bar.update(settings.block_steps)
            bar.set_postfix(
                tau=f"{max(history[-1][1]):.0f}",
                N_over_tau=f"{_steps(blocks) / max(history[-1][1]):.0f}",
                evals_per_s=f"{rate:.0f}",
            )
            log.info(
                "%d steps, tau %.1f (%s), %.0f evaluations/s",
                _steps(blocks),
                max(history[-1][1]),
                posterior.parameters[int(np.argmax(history[-1][1]))],
                rate,
            )
    if not converged:
        raise SamplerError(
            f"not converged after {_steps(blocks)} steps: the longest tau is {max(history[-1][1]):.0f} steps "
            f"and {settings.tau_multiple:g} tau are required; raise max_steps (the checkpoint goes on from here)"
        )
    samples = np.concatenate([b.chain for b in blocks])
    counts = asdict(posterior.counts)
    counts.pop("evaluations")
    return Chain(
        posterior.parameters,
        samples,
        np.concatenate([b.log_prob for b in blocks]),
        np.array(history[-1][1]),
        history,
        float(sum(b.accepted for b in blocks).mean() / len(samples)),  # type: ignore[union-attr]
        converged,
        time.perf_counter() - begun,
        posterior.counts.evaluations - evaluations_before,
        counts,
    )


def _steps(blocks: list[Block]) -> int:
    return sum(len(b.chain) for b in blocks)


def _converged(
    blocks: list[Block], settings: EnsembleSettings, history: list[tuple[int, list[float]]]
) -> bool:
    """Append tau after each block not yet in `history`; say whether the last one ends the run."""
    done = len(history)
    samples = np.concatenate([b.chain for b in blocks]) if blocks else np.empty((0, 0, 0))
    ends = np.cumsum([len(b.chain) for b in blocks])
    history += [(end, autocorrelation_time(samples[:end]).tolist()) for end in ends[done:].tolist()]
    if len(history) < 2:
        return False
    (steps, now), (_, before) = history[-1], history[-2]
    tau, tau_before = np.array(now), np.array(before)
    stable = np.all(np.abs(tau - tau_before) <= settings.tau_rtol * tau)
    return bool(np.all(np.isfinite(tau)) and steps > settings.tau_multiple * tau.max() and stable)
