"""ln L and its gradient of a few points in numpy, of a folded posterior and of restrictions of it; the arrays are the folded one's own."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cmbfit.likelihood.few_prior import of, products, squares
from cmbfit.likelihood.few_rows import FewRows

if TYPE_CHECKING:
    from cmbfit.likelihood.folded import FoldedLogLikelihood
    from cmbfit.likelihood.log_likelihood import Restricted
    from cmbfit.likelihood.simall import TabulatedSpectrum


class FewLogLikelihood(Protocol):
    """ln L of a few points."""

    def __call__(
        self,
        theta: np.ndarray,  # shape: (n_parameters[, batch])
        *,
        slope: bool,
    ) -> tuple[Any, np.ndarray | None]:  # shapes: (batch,) or (), as theta
        """Return ln L, -inf or NaN where there is none, and its gradient if that is wanted."""
        ...


class FewFolded:
    """Ln L of a linear-decoder emulator; see :class:`~cmbfit.likelihood.folded.FoldedLogLikelihood`.

    Parameters
    ----------
    folded : FoldedLogLikelihood
        On the CPU, without imprint and multi-frequency sets.
    """

    def __init__(self, folded: FoldedLogLikelihood) -> None:
        names = (*folded._parameters, *folded._nuisances)
        emulator = folded._emulator
        self._coordinates, self._n_own = emulator.coordinates, len(folded._parameters)
        self._rows = FewRows(folded._rows)
        blocks = self._rows.blocks
        self._exponential = blocks.get("lowl_ee")
        self._n = len(names)

        def scale(source: str, powers: tuple[tuple[str, float], ...], unit: float = 1.0) -> _Scale:
            linear, constant = emulator.log_amplitude(source)
            return _Scale(linear, constant - math.log(unit), {names.index(n): p for n, p in powers})

        self._parts = []
        for part in folded._parts:
            groups, start = [], 0
            for source, powers in part.groups:
                where = blocks[source]
                size = where.stop - where.start
                matrix = None if part.matrix is None else part.matrix[:, start : start + size].numpy()
                groups.append((where, scale(source, powers), matrix))
                start += size
            self._parts.append((part.target.numpy(), float(part.norm), groups))
        self._tables = []
        for like in folded._tables:
            first = blocks["lowl_ee"].start - 2
            rows = slice(first + like.lmin, first + like.lmax + 1)
            unit = scale("lowl_ee", tuple((name, -2.0) for name in like.info.nuisance), like.step)
            self._tables.append((_Table(like), rows, unit))
        self._direct: list[tuple[int, Any, float]] = [
            (names.index(x.parameter), x.mean, x.std) for x in folded._direct
        ]
        self.tables = tuple(like.info.name for like in folded._tables)
        self.with_distances = folded.few_distances() is not None
        self._distances, self._derived = folded.few_distances(), blocks.get("derived")
        self._densities = [names.index(x) for x in ("ombh2", "omch2")] if self._distances else []

    def model(self, theta: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return what whitened data of unit noise, a list of shape (n_directions[, batch]), and direct measurements scatter around."""
        columns: Any = theta
        rows, _ = self._rows.values(self._coordinates.of_columns(theta[: self._n_own]))
        if self._exponential is not None:
            np.exp(rows[self._exponential], out=rows[self._exponential])
        parts = [_model(groups, [s(columns) for _, s, _ in groups], rows) for _, _, groups in self._parts]
        return parts, [theta[column] for column, _, _ in self._direct]

    def with_data(self, targets: Sequence[np.ndarray], measured: Sequence[np.ndarray]) -> FewFolded:
        """Return the same with other data: those of :meth:`model`, a column for each point."""
        out = copy.copy(self)
        out._parts = [(t, norm, groups) for t, (_, norm, groups) in zip(targets, self._parts, strict=True)]
        out._direct = [(c, m, std) for m, (c, _, std) in zip(measured, self._direct, strict=True)]
        return out

    def __call__(  # noqa: D102, PLR0912 (the protocol's; value and slope side by side, a sort of data after the other)
        self, theta: np.ndarray, *, slope: bool
    ) -> tuple[Any, np.ndarray | None]:
        columns: Any = theta.tolist() if theta.ndim == 1 else theta
        own = theta[: self._n_own]
        rows, way = self._rows.values(self._coordinates.of_columns(own))
        if self._exponential is not None:
            np.exp(rows[self._exponential], out=rows[self._exponential])
        value: Any = 0.0
        pull = np.zeros(rows.shape) if slope else None
        gradient = np.zeros(theta.shape) if slope else None
        for target, norm, groups in self._parts:
            scales = [s(columns) for _, s, _ in groups]
            residual = _model(groups, scales, rows)
            np.subtract(of(target, theta), residual, out=residual)
            value = value + (norm - 0.5 * squares(residual))
            if pull is not None and gradient is not None:
                for (where, s, matrix), factor in zip(groups, scales, strict=True):
                    back = residual if matrix is None else matrix.T @ residual
                    back = back * factor
                    s.pull_back(gradient, columns, products(rows[where], back))
                    pull[where] += back
        for table, where, s in self._tables:
            factor = s(columns)
            found, climb = table(rows[where] * factor)
            value = value + found
            if pull is not None and gradient is not None:
                climb = climb * factor
                s.pull_back(gradient, columns, products(rows[where], climb))
                pull[where] += climb
        for column, mean, std in self._direct:
            away = (columns[column] - mean) / std
            value = value - 0.5 * away * away
            if gradient is not None:
                gradient[column] -= away / std
        if self._distances is not None and self._derived is not None:
            matter = sum(theta[i] for i in self._densities)
            found, by_matter, by_derived = self._distances(matter, rows[self._derived])
            value = value + found
            if pull is not None and gradient is not None:
                pull[self._derived] += by_derived
                for i in self._densities:
                    gradient[i] += by_matter
        if pull is not None and gradient is not None:
            if self._exponential is not None:
                pull[self._exponential] *= rows[self._exponential]
            gradient[: self._n_own] += self._coordinates.pull_back(own, self._rows.pull_back(way, pull))
        return value, gradient


def _model(
    groups: Sequence[tuple[slice, _Scale, np.ndarray | None]], scales: Sequence[Any], rows: np.ndarray
) -> np.ndarray:
    """Return the model in the data's directions."""
    terms = (
        z if matrix is None else matrix @ z
        for (_, _, matrix), z in zip(
            groups, (rows[g[0]] * s for g, s in zip(groups, scales, strict=True)), strict=True
        )
    )
    return functools.reduce(np.add, terms)


class _Table:
    """ln L of tabulated multipoles, of positive D_l; see :class:`~cmbfit.likelihood.simall.TabulatedSpectrum`."""

    def __init__(self, like: TabulatedSpectrum) -> None:
        table, rise = like._table.numpy(), like._rise.numpy()
        self._last = table.shape[1] - 1
        # between row centres ln L = start + rise * position
        start = table[:, :-1] - np.arange(self._last) * rise
        self._start, self._rise = start.ravel(), rise.ravel()
        self._first = np.arange(len(table)) * self._last

    def __call__(
        self,
        position: np.ndarray,  # shape: (n_multipoles[, batch])
    ) -> tuple[Any, np.ndarray]:  # shapes: (batch,) or (), as the positions
        """Return ln L at D_l in units of the table's step, -inf beyond the table, and its slope by the position."""
        position -= 0.5  # in rows' centres
        high = position.max(0)
        top = high if position.ndim == 1 else high.max()
        inside = None
        if not top < self._last - 1:  # NaN too
            inside = high <= self._last
            position = np.where(inside, position, 0.0)
        index = position.astype(np.int64)
        if inside is not None:
            np.minimum(index, self._last - 1, out=index)
        index += of(self._first, position)
        climb = self._rise.take(index)
        total = self._start.take(index).sum(0) + products(position, climb)
        return (total if inside is None else np.where(inside, total, -np.inf)), climb


class _Scale:
    """exp(constant + sum_i c_i theta_i) prod_j theta_j^p_j.

    Parameters
    ----------
    linear : mapping of int to float
        c_i by column.
    constant : float
    powers : mapping of int to float
        p_j by column.
    """

    def __init__(self, linear: dict[int, float], constant: float, powers: dict[int, float]) -> None:
        self._linear, self._constant, self._powers = [*linear.items()], constant, [*powers.items()]

    def __call__(self, theta: Sequence[Any]) -> Any:  # shape: (batch,) or ()
        total: Any = self._constant
        for column, factor in self._linear:
            total = total + factor * theta[column]
        out = math.exp(total) if isinstance(total, float) else np.exp(total)
        for column, power in self._powers:
            out = out * theta[column] ** power
        return out

    def pull_back(self, gradient: np.ndarray, theta: Sequence[Any], change: Any) -> None:
        """Add `change`, that of the result by a relative change of this factor, to the gradient's columns."""
        for column, factor in self._linear:
            gradient[column] += factor * change
        for column, power in self._powers:
            gradient[column] += power * change / theta[column]


class FewRestricted:
    """A larger model's at fixed values of some of its parameters.

    Parameters
    ----------
    whole : FewLogLikelihood
    restricted : Restricted
    """

    def __init__(self, whole: FewLogLikelihood, restricted: Restricted) -> None:
        names = restricted.parameters
        self._whole, self._free = whole, [names.index(p) for p in restricted.free]
        self._theta = np.array([restricted.fixed.get(p, 0.0) for p in names])

    def __call__(  # noqa: D102 (the protocol's)
        self, theta: np.ndarray, *, slope: bool
    ) -> tuple[Any, np.ndarray | None]:
        full = np.empty((len(self._theta), *theta.shape[1:]))
        full[:] = of(self._theta, theta)
        full[self._free] = theta
        value, gradient = self._whole(full, slope=slope)
        return value, None if gradient is None else gradient[self._free]
