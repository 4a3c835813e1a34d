"""Transfer functions while the other parameters move: an expansion around a fit.

Two changes of variable take out what would not expand: wavenumbers are counted in units of the
inverse distance to last scattering (a feature at k is seen at l = k D), and exp(-2 tau) is divided
out. What is left of W moves slowly and is expanded to second order in ombh2, omch2, theta_mc and tau.
Reionisation's part of low-l EE changes manyfold with tau over a posterior: tau alone goes to sixth order,
its products with the other three to third.

The matrix at the fit holds every multipole and every wavenumber that the nodes ask for. The
corrections, a few percent of it, are taken at CAMB's sparser multipoles and splined over l.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from cmbfit.device import OnDevice
from cmbfit.errors import SpectrumError
from cmbfit.theory.base import check_box
from cmbfit.theory.parameters import BACKGROUND
from cmbfit.theory.transfer.nodes import interpolate
from cmbfit.theory.transfer.operator import TransferOperator, require_every_multipole
from cmbfit.theory.transfer.region import RANGE
from cmbfit.theory.transfer.staircase import Staircase

_TAU = 3  # column of tau
_TAU_POINTS = (-2.2, -1.6, 1.6, 2.2)  # with 0 and +-1 about Chebyshev's points: no swing in between
_TAU_POWERS = (3, 4, 5, 6)
_CROSS_POINTS = (-1.0, -2.0)  # of tau, one step up in another parameter: where EE at low l is small
_CROSS_POWERS = (2, 3)


@dataclass(frozen=True)
class ExpansionArrays:
    """What a :class:`TransferExpansion` consists of.

    Attributes
    ----------
    k : numpy.ndarray, shape (n_k,)
        Nodes [1/Mpc] at the centre.
    ell, sampled : numpy.ndarray
        Multipoles of the centre's matrices and of the corrections.
    centre, steps : numpy.ndarray, shape (4,)
        Expansion point and unit of each of :data:`BACKGROUND`.
    log_distance : numpy.ndarray, shape (n_terms + 1,)
        ln of the distance to last scattering [Mpc]: its value and coefficients.
    base : mapping of str to numpy.ndarray, shape (n_ell, n_k)
    corrections : mapping of str to numpy.ndarray, shape (n_terms, n_sampled, n_k)
    """

    k: np.ndarray
    ell: np.ndarray
    sampled: np.ndarray
    centre: np.ndarray
    steps: np.ndarray
    log_distance: np.ndarray
    base: Mapping[str, np.ndarray]
    corrections: Mapping[str, np.ndarray]


def monomials(
    x: torch.Tensor,  # shape: (batch, 4)
) -> torch.Tensor:
    """Return x_i, x_i^2, x_i x_j (i < j), tau's higher powers and x_i tau^n of each row; shape (batch, 24)."""
    cross = [x[:, i] * x[:, j] for i, j in combinations(range(len(BACKGROUND)), 2)]
    tau = [x[:, _TAU] ** n for n in _TAU_POWERS]
    late = [x[:, i] * x[:, _TAU] ** n for n in _CROSS_POWERS for i in range(_TAU)]
    return torch.cat([x, x**2, torch.stack(cross + tau + late, 1)], 1)


def stencil() -> np.ndarray:
    """Return the points, in steps, that determine the polynomial; shape (25, 4)."""
    unit = np.eye(len(BACKGROUND))
    pairs = [unit[i] + unit[j] for i, j in combinations(range(len(BACKGROUND)), 2)]
    late = [unit[i] + t * unit[_TAU] for t in _CROSS_POINTS for i in range(_TAU)]
    alone = np.outer(_TAU_POINTS, unit[_TAU])
    return np.concatenate([np.zeros((1, 4)), unit, -unit, pairs, alone, late])


def coefficients(values: np.ndarray) -> np.ndarray:
    """Solve for the polynomial through the values at :func:`stencil`'s points.

    Parameters
    ----------
    values : numpy.ndarray, shape (25, ...)

    Returns
    -------
    numpy.ndarray, shape (25, ...)
        The constant, then the coefficients of :func:`monomials`.
    """
    points = torch.from_numpy(stencil())
    design = torch.cat([torch.ones(len(points), 1, dtype=torch.float64), monomials(points)], 1)
    flat = np.linalg.solve(design.numpy(), values.reshape(len(values), -1))
    return flat.reshape(values.shape)


class TransferExpansion(OnDevice):
    """C_l = W(background) P(k) near a fit, batched and differentiable in both.

    Parameters
    ----------
    arrays : ExpansionArrays
    settings : dict
        Code, settings and expansion point, JSON-able.
    """

    parameters = BACKGROUND

    def __init__(self, arrays: ExpansionArrays, settings: Mapping[str, Any]) -> None:
        require_every_multipole(arrays.ell)
        self.settings = dict(settings)
        self.pairs = tuple(arrays.base)
        # one copy of the large arrays: what `arrays` shows are views of what is computed with
        base = np.stack([arrays.base[p] for p in self.pairs])  # shape: (pair, ell, k)
        corrections = np.stack([np.moveaxis(arrays.corrections[p], 0, 1) for p in self.pairs])
        self.arrays = replace(
            arrays,
            base=dict(zip(self.pairs, base, strict=True)),
            corrections={p: np.moveaxis(x, 1, 0) for p, x in zip(self.pairs, corrections, strict=True)},
        )
        self.lmax = int(arrays.ell[-1])
        self.k = torch.from_numpy(arrays.k)
        self.box = {
            p: (c - RANGE * s, c + RANGE * s)
            for p, c, s in zip(BACKGROUND, arrays.centre.tolist(), arrays.steps.tolist(), strict=True)
        }
        self._centre, self._steps = torch.from_numpy(arrays.centre), torch.from_numpy(arrays.steps)
        self._log_distance = torch.from_numpy(arrays.log_distance)
        # both in the precision they are stored in
        self._base = Staircase(torch.from_numpy(base)[:, :, None])
        self._corrections = Staircase(torch.from_numpy(corrections))  # shape: (pair, sampled, term, k)
        every = CubicSpline(arrays.sampled, np.eye(len(arrays.sampled)))(arrays.ell)
        self._to_every_ell = torch.from_numpy(every)  # shape: (n_ell, n_sampled)

    def at_centre(self) -> TransferOperator:
        """Return the operator of the centre's cosmology."""
        return TransferOperator(self.arrays.k, self.arrays.ell, dict(self.arrays.base), self.settings)

    def terms(
        self,
        background: torch.Tensor,  # shape: (batch, 4)
    ) -> torch.Tensor:  # shape: (batch, n_terms)
        """Return the monomials that multiply the corrections."""
        return monomials((background - self._centre) / self._steps)

    def damping(
        self,
        background: torch.Tensor,  # shape: (batch, 4)
    ) -> torch.Tensor:  # shape: (batch, 1)
        """Return exp(-2 tau) relative to the centre's."""
        return torch.exp(-2 * (background[:, _TAU] - self._centre[_TAU]))[:, None]

    def wavenumbers(
        self,
        background: torch.Tensor,  # shape: (batch, 4)
    ) -> torch.Tensor:
        """Return where each background needs P: the nodes at the same angles, shape (batch, n_k) [1/Mpc]."""
        return self.k * self.stretch(background)

    def stretch(
        self,
        background: torch.Tensor,  # shape: (batch, 4)
    ) -> torch.Tensor:  # shape: (batch, 1)
        """Return the centre's distance to last scattering over each background's."""
        return torch.exp(-self.terms(background) @ self._log_distance[1:])[:, None]

    def unlensed(
        self,
        background: torch.Tensor,  # shape: (batch, 4)
        power: torch.Tensor,  # shape: (batch, n_k)
    ) -> dict[str, torch.Tensor]:
        """Return unlensed D_l [uK^2] (pp: [L(L+1)]^2 C_L/2pi) from l = 0, each of shape (batch, lmax + 1).

        Linear in P: the imprint of a feature is what P - P_0 gives.

        Parameters
        ----------
        background : torch.Tensor, shape (batch, 4)
            Columns :data:`BACKGROUND`.
        power : torch.Tensor, shape (batch, n_k)
            P_R at :attr:`k`; between the nodes it is interpolated.

        Raises
        ------
        OutsideBoxError
            If a background lies outside :attr:`box`.
        SpectrumError
            If `power` has another shape.
        """
        check_box(background, BACKGROUND, self.box)
        if power.shape != (len(background), len(self.k)):
            raise SpectrumError(
                f"P(k): expected shape {(len(background), len(self.k))}, found {tuple(power.shape)}"
            )
        moved = interpolate(self.k, power, self.wavenumbers(background))
        dl, damping = self.undamped(background, moved), self.damping(background)
        return {p: x if p == "pp" else x * damping for p, x in dl.items()}

    def undamped(
        self,
        background: torch.Tensor,  # shape: (batch, 4)
        moved: torch.Tensor,  # shape: (batch, n_k)
    ) -> dict[str, torch.Tensor]:
        """Return :meth:`unlensed` without :meth:`damping`, from P at each background's own :meth:`wavenumbers`.

        The box is not checked.
        """
        terms = self.terms(background)
        parts = self._corrections(moved)  # shape: (batch, pair, sampled, term)
        sampled = (parts @ terms.to(parts.dtype)[:, None, :, None])[..., 0]
        total = (self._base(moved)[..., 0] + sampled @ self._to_every_ell.T.to(parts.dtype)).double()
        dl = torch.nn.functional.pad(total, (2, 0))
        return {p: dl[:, i] for i, p in enumerate(self.pairs)}

    def pull_back(
        self,
        rows: Mapping[str, torch.Tensor],  # pair -> shape (n_rows, lmax + 1)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what linear functionals of :meth:`undamped` are as functionals of P.

        Returns
        -------
        base : torch.Tensor, shape (n_rows, n_k)
        corrections : torch.Tensor, shape (n_terms, n_rows, n_k)
            ``sum_pair rows_pair D_pair = (base + sum_t terms_t corrections_t) P``, P at :meth:`wavenumbers`.
        """
        n_terms, n_rows = self._log_distance.shape[0] - 1, len(next(iter(rows.values())))
        tables, every = self._corrections.matrix, self._base.matrix
        base = every.new_zeros(n_rows, len(self.k))
        corrections = tables.new_zeros(n_terms, n_rows, len(self.k))
        for i, pair in enumerate(self.pairs):
            if pair not in rows:
                continue
            inner = rows[pair][:, 2:]
            base += inner.to(base.dtype) @ every[i, :, 0]
            sampled = (inner @ self._to_every_ell).to(tables.dtype)
            for t in range(n_terms):
                corrections[t] += sampled @ tables[i, :, t]
        return base.double(), corrections
