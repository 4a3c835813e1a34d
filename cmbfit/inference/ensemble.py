"""emcee over a batched posterior: vectorised over walkers, run until the chain is long enough.

emcee's half-ensemble updates call the posterior with walkers/2 points at a time (Foreman-Mackey et
al. 2013, PASP 125, 306).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmbfit.errors import ConfigError
from cmbfit.inference.chain import Chain, check_stopping, run_sampler
from cmbfit.inference.chain_store import Block
from cmbfit.inference.samplers import Start
from cmbfit.inference.starts import initial_walkers
from cmbfit.likelihood.posterior import Posterior


def _differential_evolution() -> list[tuple[Any, float]]:
    from cmbfit.inference.moves import DifferentialEvolution, Snooker  # noqa: PLC0415 (emcee brings scipy.stats)

    return [(DifferentialEvolution(), 0.8), (Snooker(), 0.2)]


def _stretch() -> list[tuple[Any, float]]:
    from cmbfit.inference.moves import Stretch  # noqa: PLC0415

    return [(Stretch(), 1.0)]


# Differential evolution with snooker updates decorrelates correlated posteriors about three times
# faster than the stretch move at these dimensions.
_MOVES = {"differential_evolution": _differential_evolution, "stretch": _stretch}


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
        check_stopping(self)

    def check_size(self, n_parameters: int, where: str = "sampler") -> None:
        """Raise :class:`ConfigError` if there are too few walkers for so many parameters."""
        if self.walkers < 2 * n_parameters:
            raise ConfigError(
                f"{where}.walkers: {n_parameters} parameters need at least {2 * n_parameters}, found {self.walkers}"
            )


class _Emcee:
    """An `emcee.EnsembleSampler` that goes from block to block."""

    kind = "emcee"

    def __init__(
        self, posterior: Posterior, start: np.ndarray, settings: EnsembleSettings, seed: int
    ) -> None:
        def log_prob(theta: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return posterior.log_prob(torch.from_numpy(theta).to(posterior.device)).cpu().numpy()

        import emcee  # noqa: PLC0415 (a second: not to look at settings)

        self._sampler = emcee.EnsembleSampler(
            *start.shape, log_prob, vectorize=True, moves=_MOVES[settings.moves]()
        )
        self._log_prob, self._start, self._seed = log_prob, start, seed

    def prepare(self) -> Block:
        state = np.random.RandomState(self._seed).get_state()
        return Block(
            np.empty((0, *self._start.shape)),
            np.empty((0, len(self._start))),
            np.zeros(len(self._start), dtype=np.int64),
            {"position": self._start, "log_prob": self._log_prob(self._start), **_pack(state)},
        )

    def advance(self, last: Block, steps: int) -> Block:
        self._sampler.random_state = _unpack(last.state)
        self._sampler.reset()
        from emcee import State  # noqa: PLC0415

        state = State(last.state["position"], log_prob=last.state["log_prob"], copy=True)
        state = self._sampler.run_mcmc(state, steps, skip_initial_state_check=len(last.chain) > 0)
        return Block(
            self._sampler.get_chain(),
            self._sampler.get_log_prob(),
            self._sampler.backend.accepted.astype(np.int64),
            {"position": state.coords, "log_prob": state.log_prob, **_pack(self._sampler.random_state)},
        )


def _pack(state: Any) -> dict[str, np.ndarray]:
    """Turn the state of numpy's MT19937 generator, which emcee uses, into arrays."""
    _, keys, position, has_gauss, cached = state
    return {"keys": keys, "numbers": np.array([position, has_gauss]), "cached": np.array(cached)}


def _unpack(state: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
    position, has_gauss = state["numbers"].tolist()
    return "MT19937", state["keys"], position, has_gauss, float(state["cached"])


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
    """Run (or resume) one emcee ensemble until it has converged.

    Parameters
    ----------
    posterior : Posterior
    start : numpy.ndarray, shape (walkers, n_parameters)
        Starting points of a fresh run.
    settings : EnsembleSettings
    seed : int
        Seeds emcee's own generator; the same seed gives the same chain.
    checkpoint, identity, progress
        See :func:`~cmbfit.inference.chain.run_sampler`, which also says when it stops and raises.
    """
    settings.check_size(len(posterior.parameters))
    sampler = _Emcee(posterior, start, settings, seed)
    return run_sampler(sampler, posterior, settings, seed, checkpoint, identity, progress=progress)


class EmceeSampler:
    """emcee from the fit's own starting centre and scale; see :class:`~cmbfit.inference.samplers.Sampler`."""

    settings = EnsembleSettings

    def sample(  # noqa: D102 (the protocol's)
        self,
        posterior: Posterior,
        start: Start,
        settings: EnsembleSettings,
        seed: np.random.SeedSequence,
        folder: str | Path,
        identity: Mapping[str, Any],
        *,
        progress: bool = True,
    ) -> Chain:
        rng, number = np.random.default_rng(seed), int(seed.generate_state(1)[0])
        walkers = initial_walkers(posterior, start.centre, start.scale, settings.walkers, rng)
        return run_ensemble(posterior, walkers, settings, number, folder, identity, progress=progress)


SAMPLER = EmceeSampler()
