"""Baryon acoustic oscillations as tables of ln L: cubic splines through the points of a grid, -inf beyond it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from cmbfit.device import OnDevice
from cmbfit.errors import DataError, LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, sources
from cmbfit.likelihood.low_redshift.bao import LogModel, check_rows
from cmbfit.likelihood.low_redshift.measured import DistanceLikelihood, Seen


class Table(NamedTuple):
    """ln L of one or two quantities at a redshift, at the points of a grid, the last quantity running fastest."""

    name: str
    z: float
    quantities: tuple[str, ...]
    points: np.ndarray  # shape: (n, n_quantities)
    log_like: np.ndarray  # shape: (n,)


class Spline(OnDevice):
    """A cubic spline on a grid in one or two dimensions ("not a knot", as scipy's), batched and differentiable.

    Parameters
    ----------
    axes : sequence of numpy.ndarray
        Increasing.
    values : numpy.ndarray
        An axis each.
    """

    def __init__(self, axes: Sequence[np.ndarray], values: np.ndarray) -> None:
        self._breaks: list[torch.Tensor] = []
        self._ends = [(float(x[0]), float(x[-1])) for x in axes]
        table = values
        for x in axes:
            cubic = CubicSpline(x, table)  # powers and cells in front of the other axes
            self._breaks.append(torch.from_numpy(np.array(x, dtype=float)))
            table = np.moveaxis(cubic.c, (0, 1), (-2, -1))
        self._coefficients = torch.from_numpy(np.ascontiguousarray(table))

    def __call__(self, *at: torch.Tensor) -> torch.Tensor:  # each of shape (batch,)
        """Return the spline; -inf outside the grid."""
        inside = torch.ones_like(at[0], dtype=torch.bool)
        cells, steps = [], []
        for x, breaks, (low, high) in zip(at, self._breaks, self._ends, strict=True):
            inside = inside & (x >= low) & (x <= high)
            safe = torch.where((x >= low) & (x <= high), x, low)
            cell = (
                torch.searchsorted(breaks, safe.detach().contiguous(), right=True)
                .sub(1)
                .clamp(0, len(breaks) - 2)
            )
            cells.append(cell)
            steps.append(safe - breaks[cell])
        if len(at) == 1:
            value = _horner(self._coefficients[:, cells[0]], steps[0])
        else:
            inner = self._coefficients[:, cells[0], :, cells[1]]  # (batch, power of x, power of y)
            value = _horner(_horner(inner.permute(2, 1, 0), steps[1]), steps[0])
        return torch.where(inside, value, -torch.inf)


def _horner(coefficients: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return polynomials whose coefficients come along the first axis, highest power first."""
    value = coefficients[0]
    for c in coefficients[1:]:
        value = value * x + c
    return value


class BaoTables(DistanceLikelihood):
    """Sum of ln L over tables.

    Parameters
    ----------
    info : DataSetInfo
    tables : sequence of Table
    horizon_scale : float
        As for :class:`~cmbfit.likelihood.low_redshift.bao.BaoGaussian`.
    files : mapping of str to str, optional

    Raises
    ------
    DataError
        For points that are no grid, or unknown quantities.
    """

    def __init__(
        self,
        info: DataSetInfo,
        tables: Sequence[Table],
        *,
        horizon_scale: float = 1.0,
        files: Mapping[str, str] | None = None,
    ) -> None:
        if not tables:
            raise LikelihoodError(f"{info.name}: expected a table or more")
        z = np.array([table.z for table in tables for _ in table.quantities])
        names = [quantity for table in tables for quantity in table.quantities]
        check_rows(info.name, z, names)
        model = LogModel(z, names, horizon_scale)
        self._matrix, self._horizon = model.matrix, model.horizon[:, None]
        self._constant = model.constant[:, None]
        super().__init__(info, model.z, files)
        self.tables, self.scale = tuple(tables), horizon_scale
        self._splines = [_spline(info.name, table) for table in tables]

    def settings(self) -> dict[str, Any]:
        """Return files and quantities."""
        rows = [{"z": table.z, "quantities": list(table.quantities)} for table in self.tables]
        arrays = (torch.from_numpy(np.array(table.log_like)) for table in self.tables)
        return {
            "kind": "bao_tables",
            **sources(self._files, *arrays),
            "tables": rows,
            "horizon_scale": self.scale,
        }

    def predicted(self, seen: Seen) -> torch.Tensor:  # shape: (n, batch)
        """Return the quantities of a model, table by table."""
        log = torch.addmm(self._constant, self._matrix, torch.cat([seen.dm, seen.dh]))
        return torch.exp(log if seen.horizon is None else torch.addcmul(log, self._horizon, seen.horizon))

    def log_prob_of(
        self,
        seen: Seen,
        nuisance: Mapping[str, torch.Tensor],  # noqa: ARG002 (none)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the sum of the tables' ln L."""
        rows, total = iter(self.predicted(seen)), torch.zeros_like(seen.dm[0])
        for table, spline in zip(self.tables, self._splines, strict=True):
            total = total + spline(*(next(rows) for _ in table.quantities))
        return total


def _spline(name: str, table: Table) -> Spline:
    axes = [np.unique(x) for x in table.points.T]
    grid = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], 1)
    if len(axes) > 2 or grid.shape != table.points.shape or not np.array_equal(grid, table.points):
        raise DataError(
            f"{name}: {table.name}: expected the points of a grid in order, the last quantity running fastest, found "
            f"{len(table.points)} points of {' x '.join(str(len(x)) for x in axes)}"
        )
    return Spline(axes, table.log_like.reshape([len(x) for x in axes]))
