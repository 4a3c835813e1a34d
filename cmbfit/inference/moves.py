"""emcee's moves with the whole half-ensemble accepted or refused at once.

emcee updates walkers one by one in Python, which takes longer than a batched posterior. These moves
do the same in array operations within emcee's State, backends and random generator: from the same seed
`DifferentialEvolution` and `Stretch` give the very chains of emcee's own `DEMove` and `StretchMove`.
`Snooker` replaces emcee 3.1.6's `DESnookerMove`, which does not leave the posterior unchanged.
"""

from __future__ import annotations

from typing import Any

import emcee
import numpy as np
from emcee.moves import DEMove, StretchMove
from emcee.moves.red_blue import RedBlueMove

from cmbfit.errors import SamplerError


class VectorisedMove(RedBlueMove):
    """A red-blue move (Foreman-Mackey et al. 2013, PASP 125, 306) with array-wise acceptance."""

    def propose(self, model: Any, state: emcee.State) -> tuple[emcee.State, np.ndarray]:
        """Update each part of the ensemble from the others; see `emcee.moves.RedBlueMove.propose`."""
        n_walkers = len(state.coords)
        self.setup(state.coords)
        accepted = np.zeros(n_walkers, dtype=bool)
        part = np.arange(n_walkers) % self.nsplits
        if self.randomize_split:
            model.random.shuffle(part)
        for split in range(self.nsplits):
            mine = part == split
            others = [state.coords[part == j] for j in range(self.nsplits) if j != split]
            proposal, log_factor = self.get_proposal(state.coords[mine], others, model.random)
            # the function itself: emcee's wrapper would take the result apart, number by number
            log_prob = model.log_prob_fn(proposal)
            if np.isnan(log_prob).any():
                raise SamplerError("the posterior returned NaN; it must return -inf for impossible points")
            gain = log_factor + log_prob - state.log_prob[mine]
            with np.errstate(divide="ignore"):  # the generator may give 0: always accepted
                accepted[mine] = gain > np.log(model.random.rand(len(proposal)))
            state = self.update(state, emcee.State(proposal, log_prob=log_prob), accepted, mine)
        return state, accepted


class DifferentialEvolution(VectorisedMove, DEMove):
    """Steps along differences of other walkers (ter Braak 2006; Nelson et al. 2014, ApJS 210, 11)."""


class Stretch(VectorisedMove, StretchMove):
    """Stretches of the line to another walker (Goodman & Weare 2010)."""


class Snooker(VectorisedMove):
    """Steps along the line to another walker (ter Braak & Vrugt 2008, section 2.3).

    Walker x, with z, z1, z2 of the three other quarters in random roles: x* = x + gamma u (u . (z1 - z2)),
    u the unit vector along x - z; accepted with the factor (|x* - z| / |x - z|)^(d-1) on the ratio of
    densities. emcee 3.1.6 divides x - z by the root of its length and takes the root of the factor (mended
    after that release, pull request 531): a normal in 7 dimensions comes out 4% too narrow with 20% of it.
    """

    def __init__(self, gamma: float = 1.7) -> None:
        super().__init__(nsplits=4)
        self.gamma = gamma

    def get_proposal(
        self,
        sample: np.ndarray,  # shape: (n, n_parameters)
        complement: list[np.ndarray],
        random: np.random.RandomState,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return proposals and the logarithms of their factors."""
        n, dimension = sample.shape
        drawn = np.stack([c[random.randint(len(c), size=n)] for c in complement])  # shape: (3, n, dimension)
        roles = np.argsort(random.rand(3, n), axis=0)
        z, z1, z2 = drawn[roles, np.arange(n)]
        line = sample - z
        length = np.linalg.norm(line, axis=1)
        unit = line / length[:, None]
        proposal = sample + self.gamma * unit * np.sum(unit * (z1 - z2), axis=1)[:, None]
        with np.errstate(divide="ignore"):
            ratio = np.log(np.linalg.norm(proposal - z, axis=1) / length)
        return proposal, (dimension - 1.0) * ratio
