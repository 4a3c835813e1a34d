"""Transfer functions while the other parameters move: an expansion around a fit.

Two changes of variable take out what would not expand: wavenumbers are counted in units of the
inverse distance to last scattering (a feature at k is seen at l = k D), and exp(-2 tau) is divided
out. What is left of W moves slowly and is expanded to second order in ombh2, omch2, theta_mc and tau,
and to sixth order in tau alone, which changes reionisation's part of low-l EE manyfold over a posterior.

The matrix at the fit holds every multipole and every wavenumber that the nodes ask for. The
corrections, a few percent of it, are taken at CAMB's sparser multipoles and splined over l.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import camb
import numpy as np
import torch
from scipy.interpolate import CubicSpline

from cmbfit.errors import SpectrumError
from cmbfit.theory.base import check_box
from cmbfit.theory.transfer.camb_matrices import PAIRS, TransferSettings, camb_transfer
from cmbfit.theory.transfer.nodes import NodeSettings, interpolate, node_grid
from cmbfit.theory.transfer.operator import compressed_matrices, require_every_multipole

BACKGROUND = ("ombh2", "omch2", "theta_mc", "tau")
RANGE = 2.5
"""Steps from the centre within which the expansion may be used."""

_TAU = 3  # column of tau
_TAU_POINTS = (-2.2, -1.6, 1.6, 2.2)  # with 0 and +-1 about Chebyshev's points: no swing in between
_TAU_POWERS = (3, 4, 5, 6)


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
    """Return x_i, x_i^2, x_i x_j (i < j) and tau's higher powers of each row; shape (batch, 18)."""
    cross = [x[:, i] * x[:, j] for i, j in combinations(range(len(BACKGROUND)), 2)]
    tau = [x[:, _TAU] ** n for n in _TAU_POWERS]
    return torch.cat([x, x**2, torch.stack(cross + tau, 1)], 1)


def stencil() -> np.ndarray:
    """Return the points, in steps, that determine the polynomial; shape (19, 4)."""
    unit = np.eye(len(BACKGROUND))
    pairs = [unit[i] + unit[j] for i, j in combinations(range(len(BACKGROUND)), 2)]
    return np.concatenate([np.zeros((1, 4)), unit, -unit, pairs, np.outer(_TAU_POINTS, unit[_TAU])])


def coefficients(values: np.ndarray) -> np.ndarray:
    """Solve for the polynomial through the values at :func:`stencil`'s points.

    Parameters
    ----------
    values : numpy.ndarray, shape (19, ...)

    Returns
    -------
    numpy.ndarray, shape (19, ...)
        The constant, then the coefficients of :func:`monomials`.
    """
    points = torch.from_numpy(stencil())
    design = torch.cat([torch.ones(len(points), 1, dtype=torch.float64), monomials(points)], 1)
    flat = np.linalg.solve(design.numpy(), values.reshape(len(values), -1))
    return flat.reshape(values.shape)


class TransferExpansion:
    """C_l = W(background) P(k) near a fit, batched and differentiable in both.

    Parameters
    ----------
    arrays : ExpansionArrays
    settings : dict
        Code, settings and expansion point, JSON-able.
    """

    parameters = BACKGROUND

    def __init__(self, arrays: ExpansionArrays, settings: Mapping[str, Any]) -> None:
        require_every_multipole(torch.from_numpy(arrays.ell))
        self.arrays, self.settings = arrays, dict(settings)
        self.pairs = tuple(arrays.base)
        self.lmax = int(arrays.ell[-1])
        self.k = torch.from_numpy(arrays.k)
        self.box = {
            p: (c - RANGE * s, c + RANGE * s)
            for p, c, s in zip(BACKGROUND, arrays.centre.tolist(), arrays.steps.tolist(), strict=True)
        }
        self._centre, self._steps = torch.from_numpy(arrays.centre), torch.from_numpy(arrays.steps)
        self._log_distance = torch.from_numpy(arrays.log_distance)
        self._base = torch.from_numpy(np.concatenate([arrays.base[p] for p in self.pairs])).double()
        stacked = np.stack([arrays.corrections[p] for p in self.pairs])  # shape: (pair, term, sampled, k)
        self._corrections = torch.from_numpy(stacked).double().flatten(0, 2)
        every = CubicSpline(arrays.sampled, np.eye(len(arrays.sampled)))(arrays.ell)
        self._to_every_ell = torch.from_numpy(every)  # shape: (n_ell, n_sampled)

    @classmethod
    def from_camb(
        cls,
        centre: Mapping[str, float],
        steps: Mapping[str, float],
        settings: TransferSettings | None = None,
        *,
        correction_l_sampling: float = 3.0,
        correction_k_sampling: float = 2.0,
        nodes: NodeSettings | None = None,
        log: Callable[[str], None] = print,
    ) -> TransferExpansion:
        """Run CAMB at the centre and at the 19 points of the polynomial.

        Parameters
        ----------
        centre, steps : mapping
            Expansion point and unit of :data:`BACKGROUND`; steps of two posterior sigma serve a fit.
        settings : TransferSettings, optional
            Of the centre: every multipole.
        correction_l_sampling, correction_k_sampling : float
            CAMB's sampling of the corrections.
        nodes : NodeSettings, optional
        log : callable
            Told of each finished run.
        """
        settings, nodes = settings or TransferSettings(), nodes or NodeSettings()
        coarse = replace(settings, l_sampling=correction_l_sampling, k_sampling=correction_k_sampling)
        at, unit = (np.array([x[p] for p in BACKGROUND]) for x in (centre, steps))
        fit = camb_transfer(settings, dict(zip(BACKGROUND, at.tolist(), strict=True)))
        k = node_grid(fit.q, nodes)
        base = compressed_matrices(fit, k, fit.distance)
        reference, ell = fit.distance, fit.ell
        del fit
        log("centre done")
        points = at + stencil() * unit
        values: dict[str, list[np.ndarray]] = {p: [] for p in PAIRS[settings.kind]}
        distances = []
        for i, point in enumerate(points):
            run = camb_transfer(coarse, dict(zip(BACKGROUND, point.tolist(), strict=True)))
            undamped = np.exp(2 * (point[_TAU] - at[_TAU]))
            for p, w in compressed_matrices(run, k, reference).items():
                values[p].append(w if p == "pp" else w * undamped)
            distances.append(np.log(run.distance))
            sampled = run.ell
            del run
            log(f"{i + 1} of {len(points)} done")
        arrays = ExpansionArrays(
            k,
            ell,
            sampled,
            at,
            unit,
            coefficients(np.array(distances)),
            base,
            {p: coefficients(np.array(w))[1:].astype(np.float32) for p, w in values.items()},
        )
        record = {
            "code": "camb",
            "version": camb.__version__,
            "transfer": asdict(settings),
            "corrections": {"l_sampling": correction_l_sampling, "k_sampling": correction_k_sampling},
            "nodes": asdict(nodes),
            "centre": dict(centre),
            "steps": dict(steps),
        }
        return cls(arrays, record)

    def wavenumbers(
        self,
        background: torch.Tensor,  # shape: (batch, 4)
    ) -> torch.Tensor:
        """Return where each background needs P: the nodes at the same angles, shape (batch, n_k) [1/Mpc]."""
        shift = monomials((background - self._centre) / self._steps) @ self._log_distance[1:]
        return self.k * torch.exp(-shift)[:, None]

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
        terms = monomials((background - self._centre) / self._steps)  # shape: (batch, term)
        shape = (len(power), len(self.pairs), terms.shape[1], -1)
        parts = (moved @ self._corrections.T).view(shape)  # shape: (batch, pair, term, sampled)
        correction = torch.einsum("bptl,bt->bpl", parts, terms) @ self._to_every_ell.T
        total = (moved @ self._base.T).view(correction.shape) + correction
        damping = torch.exp(-2 * (background[:, _TAU] - self._centre[_TAU]))[:, None]
        dl = torch.nn.functional.pad(total, (2, 0))
        return {p: dl[:, i] if p == "pp" else dl[:, i] * damping for i, p in enumerate(self.pairs)}
