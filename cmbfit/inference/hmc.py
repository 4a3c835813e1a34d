"""Hamiltonian Monte Carlo of many chains at once, by autograd on the posterior's device.

Duane et al. (1987); Neal (2011, arXiv:1206.1901). All chains take every leapfrog step together, so one
batched gradient serves them all. The mass matrix is the inverse posterior covariance: first the Laplace
approximation's, then that of the chains in their warm-up, in which dual averaging (Hoffman & Gelman 2014,
JMLR 15, 1593, eq. 6) also finds the step size. A chain's step size is drawn anew for each trajectory
within 20%, so that no trajectory closes on itself.

Trajectories are reflected at walls (limits of uniform priors, the theory's box) where they meet them, in
the metric of the mass matrix (Mohasel Afshar & Domke 2015, NIPS 28): volume and energy are conserved and
the way can be reversed, so that the walls are exact. Where the density is zero for another reason, its
gradient is taken as zero, and trajectories that end there are refused; this too is exact, since any force
that depends on the position alone will do.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from cmbfit.errors import ConfigError, ResumeError
from cmbfit.inference.chain import Chain, check_stopping, run_sampler
from cmbfit.inference.chain_store import Block
from cmbfit.inference.gradients import log_prob_and_gradient
from cmbfit.inference.maximum import find_maximum, laplace_factor
from cmbfit.inference.samplers import Start
from cmbfit.inference.starts import draw_starts
from cmbfit.likelihood.posterior import Posterior

log = logging.getLogger(__name__)

_JITTER = 0.2
_MAX_REFLECTIONS = 20
_BLIND_REFLECTIONS = 2
"""In one leapfrog step; a trajectory that needs more ends outside and is refused. On a GPU, where a look whether
any is left to reflect would wait, this many are computed in any case: a step is shorter than the posterior is wide."""
_WARMUP_SHARES = (0.3, 0.3, 0.4)
"""Of the warm-up's steps; after each but the last the covariance is measured again."""


@dataclass(frozen=True)
class HmcSettings:
    """How a set of chains is run.

    Parameters
    ----------
    walkers : int
        Chains; the batch on the device. Each is independent of the others once it has started.
    max_steps : int
        Give up after so many trajectories.
    block_steps : int
        Trajectories between checkpoints, each with a convergence check.
    tau_multiple : float
        Trajectories required, in units of the largest autocorrelation time.
    tau_rtol : float
        Largest relative change of any tau between two checks that counts as stable.
    leapfrog : int
        Steps of a trajectory; at most a quarter of a period together.
    target_acceptance : float
        Mean acceptance that the step size is tuned to.
    warmup_steps : int
        Trajectories that are thrown away.
    """

    walkers: int = 256
    max_steps: int = 10_000
    block_steps: int = 50
    tau_multiple: float = 50.0
    tau_rtol: float = 0.1
    leapfrog: int = 3
    target_acceptance: float = 0.9
    warmup_steps: int = 60

    def __post_init__(self) -> None:
        check_stopping(self)
        if self.leapfrog < 1:
            raise ConfigError(f"leapfrog: expected at least 1, found {self.leapfrog}")
        if self.warmup_steps < 10:
            raise ConfigError(f"warmup_steps: expected at least 10, found {self.warmup_steps}")
        if not 0.5 <= self.target_acceptance < 1:
            raise ConfigError(f"target_acceptance: expected 0.5 to 1, found {self.target_acceptance}")


@dataclass
class _Points:
    """Where the chains are: each of `theta`, `gradient` (n, n_parameters), `log_prob` (n,)."""

    theta: torch.Tensor
    log_prob: torch.Tensor
    gradient: torch.Tensor


class _Metric(NamedTuple):
    """The mass matrix, as the covariance's `factor`, and the walls: their unit `normals` in whitened momenta, and where."""

    factor: torch.Tensor
    normals: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor


class _Hmc:
    """Chains that go from block to block."""

    kind = "hmc"

    def __init__(
        self, posterior: Posterior, start: np.ndarray, factor: np.ndarray, settings: HmcSettings, seed: int
    ) -> None:
        self._posterior, self._settings = posterior, settings
        self._start, self._first_factor = start, factor
        self._seed = seed
        self._walls = np.array(list(posterior.support.values()))
        self._lost: torch.Tensor | int = 0

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(self._posterior.device)

    def _at(self, theta: torch.Tensor) -> _Points:
        log_prob, gradient = log_prob_and_gradient(self._posterior, theta)
        force = gradient.nan_to_num(0.0, 0.0, 0.0)
        self._lost = self._lost + (force != gradient).any(1).sum()
        return _Points(theta, log_prob, force)

    def _drift(
        self, theta: torch.Tensor, momentum: torch.Tensor, step: torch.Tensor, metric: _Metric
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Move with constant momentum for a time `step`, shape (n, 1), reflected at the walls."""
        look = theta.device.type == "cpu"
        remaining = step
        for _ in range(_MAX_REFLECTIONS if look else _BLIND_REFLECTIONS):
            velocity = momentum @ metric.factor.T
            if look:
                end = torch.addcmul(theta, remaining, velocity)
                if not bool(((end < metric.low) | (end > metric.high)).any()):
                    return end, momentum
            wall = torch.where(velocity > 0, metric.high, metric.low)
            # a time below zero is rounding that has put a point past its wall
            time, which = ((wall - theta) / velocity).clamp(min=0).min(1, keepdim=True)
            hit = time < remaining
            time = torch.minimum(time, remaining)
            theta = torch.addcmul(theta, time, velocity).clamp(metric.low, metric.high)
            normal = metric.normals[which[:, 0]]
            along = (momentum * normal).sum(1, keepdim=True) * hit
            momentum = torch.addcmul(momentum, along, normal, value=-2)
            remaining = remaining - time
        return torch.addcmul(theta, remaining, momentum @ metric.factor.T), momentum

    def _metric(self, factor: torch.Tensor) -> _Metric:
        """Put the walls where the chains are: on the CPU, once a GPU without memory has handed over to it."""
        low, high = torch.from_numpy(self._walls.T.copy()).to(factor.device)
        return _Metric(factor, factor / factor.square().sum(1, keepdim=True).sqrt(), low, high)

    def _step(
        self, points: _Points, metric: _Metric, size: float, generator: torch.Generator
    ) -> tuple[_Points, torch.Tensor, torch.Tensor]:
        """One trajectory of every chain; also who moved and the acceptance probabilities."""
        n, d = points.theta.shape
        drawn = {"generator": generator, "dtype": torch.float64, "device": points.theta.device}
        momentum = torch.randn(n, d, **drawn)  # type: ignore[call-overload]
        step = size * (1 + _JITTER * (2 * torch.rand(n, 1, **drawn) - 1))  # type: ignore[call-overload]
        uniform = torch.rand(n, **drawn)  # type: ignore[call-overload]
        energy = points.log_prob - 0.5 * momentum.square().sum(1)
        here = points
        momentum = momentum + 0.5 * step * (here.gradient @ metric.factor)
        for i in range(self._settings.leapfrog):
            theta, momentum = self._drift(here.theta, momentum, step, metric)
            here = self._at(theta)
            last = i == self._settings.leapfrog - 1
            momentum = momentum + (0.5 if last else 1.0) * step * (here.gradient @ metric.factor)
        gain = here.log_prob - 0.5 * momentum.square().sum(1) - energy
        moved = gain > torch.log(uniform)
        points = _Points(
            torch.where(moved[:, None], here.theta, points.theta),
            torch.where(moved, here.log_prob, points.log_prob),
            torch.where(moved[:, None], here.gradient, points.gradient),
        )
        return points, moved, gain.clamp(max=0).exp()

    def prepare(self) -> Block:
        """Warm up: find step size and mass matrix."""
        settings = self._settings
        generator = self._generator(0)
        points = self._at(self._tensor(self._start))
        metric = self._metric(self._tensor(self._first_factor))
        largest = math.pi / 2 / settings.leapfrog
        size = largest
        for round_number, share in enumerate(_WARMUP_SHARES):
            steps = max(3, round(share * settings.warmup_steps))
            tuner = _DualAveraging(size, settings.target_acceptance, largest)
            positions = []
            for i in range(steps):
                points, _, probability = self._step(points, metric, tuner.size, generator)
                tuner.update(float(probability.mean()))
                if i >= steps // 2:
                    positions.append(points.theta)
            size = tuner.average
            drawn = torch.cat(positions)
            if round_number < len(_WARMUP_SHARES) - 1 and len(drawn) > 20 * drawn.shape[1]:
                metric = self._metric(torch.linalg.cholesky(torch.cov(drawn.T)))
        log.info("warm-up done: step size %.2f, acceptance %.2f", size, float(probability.mean()))
        self._say_what_was_lost()
        return self._block([], [], torch.zeros(len(self._start)), points, metric.factor, size, 1)

    def advance(self, last: Block, steps: int) -> Block:
        """Run `steps` trajectories."""
        state = last.state
        if "block" not in state:
            raise ResumeError(
                "HMC: this checkpoint holds a generator's state, which one kind of device and version of torch alone can read; "
                "remove its folder to start again"
            )
        number = int(state["block"])
        generator = self._generator(number)
        names = ("position", "log_prob", "gradient")
        points = _Points(*(self._tensor(state[name]) for name in names))
        metric, size = self._metric(self._tensor(state["factor"])), float(state["step_size"])
        accepted = torch.zeros(len(points.theta), dtype=torch.int64, device=points.theta.device)
        samples, log_prob = [], []
        for _ in range(steps):
            points, moved, _ = self._step(points, metric, size, generator)
            accepted += moved
            samples.append(points.theta)
            log_prob.append(points.log_prob)
        self._say_what_was_lost()
        return self._block(samples, log_prob, accepted, points, metric.factor, size, number + 1)

    def _generator(self, block: int) -> torch.Generator:
        """Return the generator of a block, of its own seed: a generator's state is of one kind of device alone."""
        seed = int(
            np.random.SeedSequence([self._seed, block]).generate_state(1, np.uint64)[0] >> np.uint64(1)
        )
        return torch.Generator(device=self._posterior.device).manual_seed(seed)

    def _say_what_was_lost(self) -> None:
        if lost := int(self._lost):
            log.warning(
                "%d gradients were not finite and taken as zero: the chain is right, and slower", lost
            )
        self._lost = 0

    def _block(
        self,
        samples: list[torch.Tensor],
        log_prob: list[torch.Tensor],
        accepted: torch.Tensor,
        points: _Points,
        factor: torch.Tensor,
        size: float,
        number: int,
    ) -> Block:
        n, d = self._start.shape
        return Block(
            torch.stack(samples).cpu().numpy() if samples else np.empty((0, n, d)),
            torch.stack(log_prob).cpu().numpy() if log_prob else np.empty((0, n)),
            accepted.cpu().numpy().astype(np.int64),
            {
                "position": points.theta.cpu().numpy(),
                "log_prob": points.log_prob.cpu().numpy(),
                "gradient": points.gradient.cpu().numpy(),
                "factor": factor.cpu().numpy(),
                "step_size": np.array(size),
                "block": np.array(number),
            },
        )


class _DualAveraging:
    """Step size of a wanted mean acceptance; Hoffman & Gelman 2014, eq. 6, with their constants."""

    def __init__(self, start: float, target: float, largest: float) -> None:
        self._mu, self._target, self._largest = math.log(start), target, largest
        self._error, self._log_average, self._n = 0.0, 0.0, 0
        self.size = start

    def update(self, acceptance: float) -> None:
        self._n += 1
        share = 1 / (self._n + 10)
        self._error = (1 - share) * self._error + share * (self._target - acceptance)
        log_size = min(self._mu - math.sqrt(self._n) / 0.05 * self._error, math.log(self._largest))
        weight = self._n**-0.75
        self._log_average = weight * log_size + (1 - weight) * self._log_average
        self.size = math.exp(log_size)

    @property
    def average(self) -> float:
        return math.exp(self._log_average)


def run_hmc(
    posterior: Posterior,
    start: np.ndarray,  # shape: (walkers, n_parameters)
    factor: np.ndarray,  # shape: (n_parameters, n_parameters)
    settings: HmcSettings,
    seed: int,
    checkpoint: str | Path,
    identity: Mapping[str, Any],
    *,
    progress: bool = True,
) -> Chain:
    """Run (or resume) one set of HMC chains until they have converged.

    Parameters
    ----------
    posterior : Posterior
    start : numpy.ndarray, shape (walkers, n_parameters)
        Starting points of a fresh run, of non-zero probability.
    factor : numpy.ndarray, shape (n_parameters, n_parameters)
        Approximate covariance = factor factor^T: the first mass matrix.
    settings : HmcSettings
    seed : int
        Seeds the generators, one a block; the same seed on the same kind of device gives the same chain. A
        checkpoint goes on on any device, there with that device's random numbers.
    checkpoint, identity, progress
        See :func:`~cmbfit.inference.chain.run_sampler`, which also says when it stops and raises.

    Returns
    -------
    Chain
        Steps are trajectories; the chains stand where an ensemble's walkers do.
    """
    sampler = _Hmc(posterior, start, factor, settings, seed)
    return run_sampler(sampler, posterior, settings, seed, checkpoint, identity, progress=progress)


class HmcSampler:
    """HMC from the Laplace approximation around the maximum, twice as wide, so that sets start wider than the posterior.

    See :class:`~cmbfit.inference.samplers.Sampler`.
    """

    settings = HmcSettings

    def sample(  # noqa: D102 (the protocol's)
        self,
        posterior: Posterior,
        start: Start,
        settings: HmcSettings,
        seed: np.random.SeedSequence,
        folder: str | Path,
        identity: Mapping[str, Any],
        *,
        progress: bool = True,
    ) -> Chain:
        rng, number = np.random.default_rng(seed), int(seed.generate_state(1)[0])
        best = find_maximum(posterior, start.centre, start.scale, starts=3, rng=rng)
        factor = laplace_factor(posterior, best.point, start.scale)
        mean = np.array([best.point[p] for p in posterior.parameters])
        first = draw_starts(posterior, mean, 2 * factor, settings.walkers, rng, start.centre)
        return run_hmc(posterior, first, factor, settings, number, folder, identity, progress=progress)


SAMPLER = HmcSampler()
