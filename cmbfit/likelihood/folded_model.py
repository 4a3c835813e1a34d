"""A multi-frequency data set folded into a linear-decoder emulator: bandpowers from components, without spectra.

Windows meet the emulator's decoder once. What stays for each point is a product of a small matrix with the components,
foregrounds as few numbers times binned shapes, and the calibrations of each spectrum; see :mod:`cmbfit.likelihood.fold`
for sets of fixed covariance and simple calibrations, which fold further.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import torch

from cmbfit.device import OnDevice, take
from cmbfit.likelihood.binned_power_law import BinnedPowerLaw
from cmbfit.likelihood.data_model import Added, Chain
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.priors import Gaussian, Prior
from cmbfit.likelihood.steps import AddPowerLaw

Decode = Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]
"""From windows on D_l by pair, each (n_rows, lmax + 1), to matrices on the components of each source."""

_WIDTHS = 8.0
"""Standard deviations of normal priors within which exponents are interpolated."""


class FoldedModel(OnDevice):
    """Ln L of a multi-frequency data set from the emulator's components.

    Parameters
    ----------
    like : MultiFrequencyBandpowers
    decode : callable
        Of the emulator.
    """

    def __init__(self, like: MultiFrequencyBandpowers, decode: Decode) -> None:
        self.like = like
        self.sources: tuple[str, ...] = ()
        self.linear: list[tuple[Chain, dict[str, torch.Tensor]]] = []
        n = len(like.data)
        for term in like.model.seen:
            full = {}
            for pair, window in term.windows.items():
                full[pair] = window.new_zeros(n, window.shape[1]).index_copy(0, term.rows[pair], window)
            matrices = decode(full)
            self.linear.append((term.chain, matrices))
            self.sources = tuple(dict.fromkeys((*self.sources, *matrices)))
        self.power_laws = {i: self._power_law(term) for i, term in enumerate(like.model.added)}

    def _power_law(self, term: Added) -> BinnedPowerLaw | None:
        step = self.like.model.steps[term.step]
        if (
            term.windows is None
            or not isinstance(step, AddPowerLaw)
            or type(step).shape is not AddPowerLaw.shape
        ):
            return None
        # the exponent's range follows from the priors of the parameters that it moves with
        ends = {name: _range(self._prior(name)) for name in step.parameters}
        centre = {
            name: torch.tensor([(low + high) / 2], dtype=torch.float64) for name, (low, high) in ends.items()
        }
        middle = float(step.exponent(centre))
        reach = 0.0
        for name, (_, high) in ends.items():
            moved = centre | {name: torch.tensor([high], dtype=torch.float64)}
            reach += abs(float(step.exponent(moved)) - middle)
        return BinnedPowerLaw(
            term.windows, step.log_ell, middle - max(reach, 1e-3), middle + max(reach, 1e-3)
        )

    def _prior(self, name: str) -> Prior:
        return self.like.info.nuisance[self.like.outside(name)]

    def bandpowers(
        self,
        components: Mapping[str, torch.Tensor],  # source -> (n_components, batch)
        amplitudes: Mapping[str, torch.Tensor],  # source -> (batch,)
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (n_bins, batch)
        """Return the model bandpowers."""
        model = self.like.model
        own = self.like.own_names(nuisance)
        factors = model.factors(own)
        sums: dict[Chain, torch.Tensor] = {}

        def add(chain: Chain, what: torch.Tensor) -> None:
            sums[chain] = sums[chain] + what if chain in sums else what

        for chain, matrices in self.linear:
            for source, matrix in matrices.items():
                add(chain, matrix @ (components[source] * amplitudes[source]))
        for i, term in enumerate(model.added):
            self._add_foreground(add, i, term, own, factors)
        terms = [(what, model.of_rows(chain, factors)) for chain, what in sums.items()]
        total = functools.reduce(torch.add, (x if scale is None else x * scale.T for x, scale in terms))
        return total.expand(-1, len(next(iter(amplitudes.values()))))

    def _add_foreground(
        self,
        add: Callable[[Chain, torch.Tensor], None],
        i: int,
        term: Added,
        own: Mapping[str, torch.Tensor],
        factors: list[tuple[torch.Tensor, ...]],
    ) -> None:
        model = self.like.model
        power_law, step = self.power_laws[i], model.steps[term.step]
        if power_law is not None and term.rows is not None and isinstance(step, AddPowerLaw):
            scale = take(factors[term.step][0].T, 0, model.owner.index_select(0, term.rows))
            shape = power_law(step.exponent(own)) * scale
            add(term.chain, shape.new_zeros(len(model.owner), shape.shape[1]).index_copy(0, term.rows, shape))
        elif term.binned is not None:
            amplitude = model.of_rows(((term.step, 0),), factors) if term.step >= 0 else None
            add(term.chain, term.binned[:, None] if amplitude is None else amplitude.T * term.binned[:, None])
        else:
            bare = Added((), term.step, None, term.windows, term.rows)
            add(term.chain, model.of_added(bare, own, factors).T)

    def log_prob(
        self,
        components: Mapping[str, torch.Tensor],
        amplitudes: Mapping[str, torch.Tensor],
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L; arguments as for :meth:`bandpowers`."""
        return self.like.log_prob_of_bandpowers(self.bandpowers(components, amplitudes, nuisance))


def _range(prior: Prior) -> tuple[float, float]:
    if isinstance(prior, Gaussian):
        return prior.mean - _WIDTHS * prior.std, prior.mean + _WIDTHS * prior.std
    low, high = prior.support
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (-1.0, 1.0)
