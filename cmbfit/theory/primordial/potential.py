"""Inflaton potentials given as formulas, with derivatives of ln V by automatic differentiation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch

from cmbfit.errors import FormulaError, InflationError
from cmbfit.theory.primordial.dual import value_and_slope
from cmbfit.theory.primordial.formula import Formula


class Potential:
    """V(phi; parameters) for a batch of parameters, in reduced Planck units.

    Parameters
    ----------
    formula : str
        In the variable `phi` (see :class:`~cmbfit.theory.primordial.formula.Formula`); its other
        names are parameters.
    parameters : mapping of str to float or torch.Tensor
        Values, scalars or of shape (batch,).
    phi_range : (float, float)
        Field values between which inflation happens and ends.

    Raises
    ------
    FormulaError
        If the formula is wrong or its parameters are not those given.

    Examples
    --------
    >>> V = Potential("V0 * phi**2 / 2", {"V0": 1.0}, (0.1, 30.0))
    >>> V.batch
    1
    """

    def __init__(
        self, formula: str, parameters: Mapping[str, float | torch.Tensor], phi_range: tuple[float, float]
    ) -> None:
        self.formula = Formula(formula)
        wanted = set(self.formula.names) - {"phi"}
        if "phi" not in self.formula.names:
            raise FormulaError(f"potential {formula!r}: expected a function of phi")
        if wanted != set(parameters):
            raise FormulaError(
                f"potential {formula!r}: expected values for {sorted(wanted)}, found {sorted(parameters)}"
            )
        if not phi_range[0] < phi_range[1]:
            raise FormulaError(f"phi_range: expected low < high, found {phi_range}")
        columns = [torch.as_tensor(x, dtype=torch.float64).reshape(-1) for x in parameters.values()]
        self.batch = max([1, *(len(c) for c in columns)])
        if bad := [n for n, c in zip(parameters, columns, strict=True) if len(c) not in {1, self.batch}]:
            raise FormulaError(f"potential parameter {bad[0]}: expected 1 or {self.batch} values")
        self.parameters = {n: c.expand(self.batch)[:, None] for n, c in zip(parameters, columns, strict=True)}
        self.phi_range = phi_range

    def value(self, phi: torch.Tensor) -> torch.Tensor:
        """Return V; phi of shape (batch, n)."""
        return self.formula({"phi": phi, **self.parameters}).expand(phi.shape)

    @functools.cached_property
    def with_slope(self) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """From phi, shape (batch, n), to V and dV/dphi, also where V = 0; differentiable."""
        return value_and_slope(self.formula, "phi", self.parameters)

    def log_slopes(self, phi: torch.Tensor, order: int = 1) -> tuple[torch.Tensor, ...]:
        """Return V and the first `order` derivatives of ln V; each of phi's shape (batch, n).

        Where V <= 0 the derivatives are not numbers.
        """
        with torch.enable_grad():
            x = phi.detach().requires_grad_(True)
            v = self.value(x)
            out, last = [v.detach()], torch.log(v)
            for i in range(order):
                if not last.requires_grad:  # a derivative that is constant
                    out.append(torch.zeros_like(phi))
                    continue
                (last,) = torch.autograd.grad(last.sum(), x, create_graph=i + 1 < order)
                out.append(last.detach())
        return tuple(out)

    def slow_roll_start(self, efolds: float, n_grid: int = 20_001) -> torch.Tensor:  # shape: (batch,)
        """Return the field from which slow roll lasts `efolds` until epsilon_V = 1, by dN = dphi / (V'/V).

        The field rolls downhill to where epsilon_V = (V'/V)^2/2 first reaches 1; of several such
        places on `phi_range` the one at the foot of the longest inflating slope counts. A slope that begins at a maximum of V
        is followed towards it in the logarithm of the distance.

        Raises
        ------
        InflationError
            If V is not positive, does not end inflation, or is too short within `phi_range`.
        """
        grid = torch.linspace(*self.phi_range, n_grid, dtype=torch.float64).expand(self.batch, n_grid)
        v, slope = self.log_slopes(grid)
        step = (self.phi_range[1] - self.phi_range[0]) / (n_grid - 1)
        starts = torch.empty(self.batch, dtype=torch.float64)
        for b in range(self.batch):
            starts[b] = self._start_of_one(b, grid[b], v[b], slope[b], step, efolds)
        return starts

    def _start_of_one(
        self, row: int, grid: torch.Tensor, v: torch.Tensor, slope: torch.Tensor, step: float, efolds: float
    ) -> float:
        name = f"potential {self.formula.text!r} on phi in {list(self.phi_range)}"
        rolling = (v > 0) & torch.isfinite(slope) & (slope.abs() < 2**0.5) & (slope != 0)
        if not bool(rolling.any()):
            raise InflationError(f"{name}: no field value with V > 0 and epsilon_V < 1; it does not inflate")
        best, best_start = 0.0, None
        edges = (rolling[1:] != rolling[:-1]) | (rolling[1:] & (slope[1:].sign() != slope[:-1].sign()))
        cuts = [0, *(edges.nonzero().flatten() + 1).tolist(), len(grid)]
        for low, high in pairwise(cuts):
            if not bool(rolling[low]) or high - low < 2:
                continue
            downhill = bool(slope[low] > 0)  # towards smaller phi
            foot = low - 1 if downhill else high
            # inflation has to end at the foot, with V still positive there or just beyond
            if not 0 <= foot < len(grid) or bool(slope[foot].abs() < 2**0.5):
                continue
            piece = slice(low, high)
            field, length = grid[piece], step / slope[piece].abs()
            order = field if downhill else field.flip(0)
            total = torch.cumsum(length if downhill else length.flip(0), 0)
            top = high if downhill else low - 1
            if total[-1] < efolds and 0 <= top < len(grid) and bool(v[top] > 0):
                # between the last two points the potential has a maximum
                above, more = self._towards_top(row, order[-1].item(), grid[top].item())
                order, total = torch.cat([order, above]), torch.cat([total, total[-1] + more])
            if total[-1] > best:
                best = total[-1].item()
                reached = (total >= efolds).nonzero().flatten()
                best_start = order[reached[0]].item() if len(reached) else None
        if best == 0.0:
            raise InflationError(f"{name}: inflation does not end (epsilon_V never reaches 1 downhill)")
        if best_start is None:
            raise InflationError(
                f"{name}: {efolds:.1f} e-folds were asked for, it gives {best:.1f} in slow roll; widen phi_range "
                "or ask for fewer"
            )
        return best_start

    def _towards_top(self, row: int, last: float, beyond: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return fields from `last` towards the maximum of V before `beyond`, and the e-folds from each down to `last`."""

        def slope(phi: torch.Tensor) -> torch.Tensor:
            return self.log_slopes(phi.expand(self.batch, -1))[1][row]

        sign = slope(torch.tensor([last], dtype=torch.float64)).sign()
        low, high = last, beyond
        for _ in range(200):  # to the last bit
            middle = (low + high) / 2
            if middle in (low, high):
                break
            at = slope(torch.tensor([middle], dtype=torch.float64)).sign()
            low, high = (middle, high) if bool(at == sign) else (low, middle)
        top = high
        least = max(abs(top), 1e-3) * 1e-13
        if abs(top - last) < 2 * least:
            return torch.empty(0, dtype=torch.float64), torch.empty(0, dtype=torch.float64)
        log_d = torch.linspace(math.log(abs(top - last)), math.log(least), 2001, dtype=torch.float64)
        fields = top + math.copysign(1.0, last - top) * torch.exp(log_d)
        per_log = torch.exp(log_d) / slope(fields).abs()
        efolds = torch.cumsum((per_log[1:] + per_log[:-1]) / 2 * (log_d[0] - log_d[1]), 0)
        good = torch.isfinite(efolds)
        return fields[1:][good], efolds[good]
