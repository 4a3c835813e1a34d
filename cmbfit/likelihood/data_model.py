"""Bandpowers of a model with steps, computed through windows: no spectrum of any frequency is ever made.

All steps are linear in D_l. The steps after a spectrum or a foreground therefore act on the windows as well as on it:
going through the steps backwards, a calibration leaves a factor of each spectrum, and a derivative turns a window W into
p W + q W l d/dl. What is left is a short sum of :class:`Seen` spectra and foregrounds, each with fixed windows and a
chain of factors that depend on nuisance parameters alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.device import OnDevice, take
from cmbfit.likelihood.steps.base import Add, AddBinned, Derivative, Measured, Nuisance, Rescale, Step
from cmbfit.likelihood.steps.local_sky import derivative_matrix
from cmbfit.theory.spectra import Spectra

Chain = tuple[tuple[int, int], ...]
"""Steps whose factors multiply a term: index, and which of a derivative's two coefficients."""


@dataclass(frozen=True)
class Seen(OnDevice):
    """Spectra of the sky as bandpowers see them.

    Attributes
    ----------
    chain : tuple
    windows : dict of str to torch.Tensor, shape (n_rows, lmax + 1)
        Pair to windows on its D_l, l from 0.
    rows : dict of str to torch.Tensor
        Pair to the rows of the data vector that its windows belong to.
    """

    chain: Chain
    windows: dict[str, torch.Tensor]
    rows: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Added(OnDevice):
    """A foreground, a template or a constant as bandpowers see it.

    Attributes
    ----------
    chain : tuple
    step : int
        Whose amplitudes and shape they are.
    binned : torch.Tensor or None, shape (n_bins,)
        Its shape in bandpowers, if it is fixed.
    windows : torch.Tensor or None, shape (n_rows, n_ell)
        l from 2, of the spectra that have it; if the shape varies.
    rows : torch.Tensor or None
        Rows of the data vector that `windows` belong to.
    """

    chain: Chain
    step: int
    binned: torch.Tensor | None
    windows: torch.Tensor | None = None
    rows: torch.Tensor | None = None


class DataModel(OnDevice):
    """Steps between D_l of the CMB and the bandpowers of several spectra.

    Parameters
    ----------
    spectra : sequence of Measured
        In the order of the data vector.
    windows : sequence of numpy.ndarray, shape (n_bins of the spectrum, n_ell of the spectrum)
        On D_l [uK^2], l from 2 as far as derivatives are to be taken.
    steps : sequence of Step
        In the order in which they act. Those that act on nothing are left out.

    Attributes
    ----------
    parameters : tuple of str
        Nuisance parameters, in order of first use.
    """

    def __init__(
        self, spectra: Sequence[Measured], windows: Sequence[np.ndarray], steps: Sequence[Step]
    ) -> None:
        self.spectra = tuple(spectra)
        self.steps = [step for step in steps if _acts(step)]
        self.parameters = tuple(dict.fromkeys(name for step in self.steps for name in step.parameters))
        sizes = [len(w) for w in windows]
        self.owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        self.n_ell = max(w.shape[1] for w in windows)
        self.seen: list[Seen] = []
        self.added: list[Added] = []
        current: list[tuple[Chain, list[np.ndarray]]] = [((), list(windows))]
        for i in reversed(range(len(self.steps))):
            current = self._before(i, current)
        for chain, seen in current:
            self.seen.append(_seen_through(chain, [s.pair for s in self.spectra], seen))

    def _before(
        self, i: int, current: list[tuple[Chain, list[np.ndarray]]]
    ) -> list[tuple[Chain, list[np.ndarray]]]:
        """Return windows on what a step gets from windows on what it gives; keep what it adds."""
        step = self.steps[i]
        match step:
            case Rescale():
                return [(((i, 0), *chain), windows) for chain, windows in current]
            case Derivative():
                return self._derivative(i, step, current)
            case Add():
                for chain, windows in current:
                    self._foreground(i, step, chain, windows)
            case AddBinned():
                # only factors come after it: derivatives are not for bandpowers
                ((chain, windows),) = current
                every = torch.arange(sum(len(w) for w in windows))
                if step.responses:
                    self.seen.append(Seen(chain, dict(step.responses), dict.fromkeys(step.responses, every)))
                for fixed in (step.constant, step.template):
                    if fixed is not None:
                        self.added.append(Added(chain, i if fixed is step.template else -1, fixed))
        return current

    def _derivative(
        self, i: int, step: Derivative, current: list[tuple[Chain, list[np.ndarray]]]
    ) -> list[tuple[Chain, list[np.ndarray]]]:
        matrices = {n: derivative_matrix(n + 1) for n in {w.shape[1] for _, ws in current for w in ws}}
        out: list[tuple[Chain, list[np.ndarray]]] = []
        for chain, windows in current:
            turned = [w @ matrices[w.shape[1]] for w in windows]
            if step.parameters:
                out += [(((i, 0), *chain), windows), (((i, 1), *chain), turned)]
            else:
                p, q = step.coefficients({})
                out.append((chain, [p * w + q * t for w, t in zip(windows, turned, strict=True)]))
        return out

    def _foreground(self, i: int, step: Add, chain: Chain, windows: list[np.ndarray]) -> None:
        padded = np.concatenate([np.pad(w, ((0, 0), (0, self.n_ell - w.shape[1]))) for w in windows])
        rows = torch.nonzero(step.affected[self.owner])[:, 0]
        matrix = torch.from_numpy(padded)[rows]
        if step.template is not None:
            binned = torch.zeros(len(padded), dtype=torch.float64).index_copy(0, rows, matrix @ step.template)
            self.added.append(Added(chain, i, binned))
        else:
            self.added.append(Added(chain, i, None, matrix, rows))

    @property
    def pairs(self) -> tuple[str, ...]:
        """Spectra of the CMB that are needed; those that are measured come first."""
        seen = [pair for term in self.seen for pair in term.windows]
        return tuple(dict.fromkeys([s.pair for s in self.spectra] + seen))

    @property
    def lmax(self) -> int:
        """Largest multipole that is needed."""
        return max(w.shape[1] for term in self.seen for w in term.windows.values()) - 1

    def window(self, i: int) -> torch.Tensor:  # shape: (n_bins of the spectrum, lmax + 1)
        """Return the windows of a measured spectrum on its own pair at kappa = 0 and calibrations of one."""
        term = next(t for t in reversed(self.seen) if not t.chain or all(which == 0 for _, which in t.chain))
        pair = self.spectra[i].pair
        return term.windows[pair][self.owner[term.rows[pair]] == i]

    def factors(self, nuisance: Nuisance) -> list[tuple[torch.Tensor, ...]]:
        """Return the factors of each step, those of a spectrum of shape (batch, n_spectra), others (batch, 1)."""
        out: list[tuple[torch.Tensor, ...]] = []
        for step in self.steps:
            match step:
                case Rescale():
                    out.append((step.factors(nuisance),))
                case Derivative() if step.parameters:
                    out.append(tuple(torch.as_tensor(x).reshape(-1, 1) for x in step.coefficients(nuisance)))
                case Add():
                    out.append((step.amplitudes(nuisance),))
                case AddBinned() if step.parameters:
                    out.append((nuisance[step.parameters[0]][:, None],))
                case _:
                    out.append(())
        return out

    def of_rows(self, chain: Chain, factors: list[tuple[torch.Tensor, ...]]) -> torch.Tensor | None:
        """Return the product of a chain's factors for each bandpower, (batch, n_bins) or (batch, 1); None if empty."""
        product = None
        for i, which in chain:
            product = factors[i][which] if product is None else product * factors[i][which]
        if product is None or product.shape[1] == 1:
            return product
        return take(product, 1, self.owner)

    def foregrounds(self, nuisance: Nuisance, factors: list[tuple[torch.Tensor, ...]]) -> torch.Tensor | None:
        """Return the sum of what is added, shape (batch, n_bins) or (n_bins,); None if nothing is."""
        total: torch.Tensor | None = None
        for term in self.added:
            model = self.of_added(term, nuisance, factors)
            total = model if total is None else total + model
        return total

    def of_added(
        self, term: Added, nuisance: Nuisance, factors: list[tuple[torch.Tensor, ...]]
    ) -> torch.Tensor:  # shape: (batch, n_bins) or (n_bins,)
        """Return what one term adds, with the factors of the steps after it."""
        scale = self.of_rows(term.chain, factors)
        own = self.of_rows(((term.step, 0),), factors) if term.step >= 0 else None
        model = term.binned if term.binned is not None else self._of_shape(term, nuisance)
        for factor in (own, scale):
            if factor is not None:
                model = model * factor
        return model

    def _of_shape(self, term: Added, nuisance: Nuisance) -> torch.Tensor:  # shape: (batch, n_bins)
        step = self.steps[term.step]
        if not isinstance(step, Add) or term.windows is None or term.rows is None:
            raise TypeError(f"{type(step).__name__} adds no shape")
        shape = step.shape(nuisance)
        if shape.ndim == 2:
            binned = shape @ term.windows.T
        else:
            owner = self.owner.index_select(0, term.rows)
            binned = torch.einsum("bnl,nl->bn", take(shape, 1, owner), term.windows)
        return binned.new_zeros(len(binned), len(self.owner)).index_copy(1, term.rows, binned)

    def bandpowers(self, spectra: Spectra, nuisance: Nuisance) -> torch.Tensor:  # shape: (batch, n_bins)
        """Return the bandpowers of models of the CMB; differentiable."""
        factors = self.factors(nuisance)
        n = len(self.owner)
        total = self.foregrounds(nuisance, factors)
        total = torch.zeros(n, dtype=torch.float64, device=self.owner.device) if total is None else total
        for term in self.seen:
            model = spectra.dl[next(iter(term.windows))].new_zeros(spectra.batch, n)
            for pair, window in term.windows.items():
                binned = spectra.dl[pair][:, : window.shape[1]] @ window.T
                rows = term.rows[pair]
                model = model + binned if len(rows) == n else model.index_add(1, rows, binned)
            scale = self.of_rows(term.chain, factors)
            model = model if scale is None else model * scale
            total = total + model
        return total


def _acts(step: Step) -> bool:
    """Return whether a step changes anything in the spectra that are left."""
    match step:
        case Add():
            return bool(step.affected.any())
        case Rescale():
            powers = step.powers()
            return powers is None or any(powers)
        case _:
            return True


def _seen_through(chain: Chain, pairs: Sequence[str], windows: Sequence[np.ndarray]) -> Seen:
    """Gather the windows of each pair, less zeros at their ends, with l from 0."""
    starts = np.cumsum([0, *(len(w) for w in windows)])
    stacked: dict[str, torch.Tensor] = {}
    rows: dict[str, torch.Tensor] = {}
    for pair in dict.fromkeys(pairs):
        mine = [i for i, p in enumerate(pairs) if p == pair]
        lmax = max(_last(windows[i]) for i in mine)
        table = np.zeros((sum(len(windows[i]) for i in mine), lmax + 1))
        at = 0
        for i in mine:
            part = windows[i][:, : lmax - 1]
            table[at : at + len(part), 2 : 2 + part.shape[1]] = part
            at += len(part)
        stacked[pair] = torch.from_numpy(table)
        rows[pair] = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in mine])
    return Seen(chain, stacked, rows)


def _last(window: np.ndarray) -> int:
    """Return the last multipole with weight; columns begin at l = 2."""
    used = np.flatnonzero(window.any(axis=0))
    return int(used[-1]) + 2 if used.size else 1


def combined(*rows: Mapping[str, float]) -> dict[str, float]:
    """Return the product of powers of parameters: exponents add."""
    out: dict[str, float] = {}
    for row in rows:
        for name, power in row.items():
            out[name] = out.get(name, 0.0) + power
    return {name: power for name, power in out.items() if power}
