"""C_l = W P(k): unlensed spectra of any primordial spectrum, batched and differentiable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Self

import camb
import numpy as np
import torch
from scipy.sparse import csr_array

from cmbfit.device import OnDevice
from cmbfit.errors import SpectrumError
from cmbfit.theory.transfer.camb_matrices import PAIRS, CambTransfer, TransferSettings, camb_transfer
from cmbfit.theory.transfer.nodes import ORDER, NodeSettings, lagrange, node_grid


class TransferOperator(OnDevice):
    """Transfer functions of one background as matrices.

    Parameters
    ----------
    k : numpy.ndarray, shape (n_k,)
        Wavenumbers [1/Mpc] at which P is wanted.
    ell : numpy.ndarray, shape (n_ell,)
        Multipoles of the rows.
    matrices : mapping of str to numpy.ndarray
        Pair to D_l [uK^2] per unit P(k), shape (n_ell, n_k).
    settings : dict
        Code, settings and background behind them, JSON-able.

    Examples
    --------
    >>> from cmbfit.theory.camb_code import CambSettings
    >>> small = TransferSettings(CambSettings(lmax=50, lens_potential_accuracy=1), l_sampling=1, k_sampling=1)
    >>> background = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.4, "tau": 0.054}
    >>> operator = TransferOperator.from_camb(background, small)
    >>> power = 2.1e-9 * (operator.k / 0.05) ** -0.035
    >>> round(operator.at_ell(power[None])["tt"][0, 0].item(), -1)
    1020.0
    """

    def __init__(
        self,
        k: np.ndarray,
        ell: np.ndarray,
        matrices: Mapping[str, np.ndarray],
        settings: Mapping[str, Any],
    ) -> None:
        self.k = torch.from_numpy(np.asarray(k, dtype=np.float64))
        self._own_ell = np.asarray(ell, dtype=np.int64)  # to look at without a wait for a GPU
        self.ell = torch.from_numpy(self._own_ell)
        self.lmax = int(self.ell[-1])
        """Largest multipole."""
        self.pairs = tuple(matrices)
        self.settings = dict(settings)
        self._stacked = torch.from_numpy(np.concatenate([matrices[p] for p in self.pairs]))

    @classmethod
    def from_camb(
        cls,
        background: Mapping[str, float],
        settings: TransferSettings | None = None,
        nodes: NodeSettings | None = None,
    ) -> TransferOperator:
        """Compute the matrices with CAMB.

        Parameters
        ----------
        background : mapping
            ombh2, omch2, theta_mc or H0, tau, and extensions that leave space flat.
        settings : TransferSettings, optional
        nodes : NodeSettings, optional
            Keep a few thousand wavenumbers, enough for oscillations up to these frequencies. Default:
            all of CAMB's, which reproduce its spectra to rounding (a gigabyte for every multipole to 2500).
        """
        settings = settings or TransferSettings()
        transfer = camb_transfer(settings, background)
        k = transfer.q if nodes is None else node_grid(transfer.q, nodes)
        record = {
            "code": "camb",
            "version": camb.__version__,
            "transfer": asdict(settings),
            "background": dict(background),
            # no JSON for an infinite reach
            "nodes": None if nodes is None else {k: x for k, x in asdict(nodes).items() if math.isfinite(x)},
        }
        matrices = (
            full_matrices(transfer) if nodes is None else compressed_matrices(transfer, k, transfer.distance)
        )
        return cls(k, transfer.ell, matrices, record)

    @property
    def matrices(self) -> dict[str, torch.Tensor]:
        """Pair to matrix, shape (n_ell, n_k)."""
        return dict(zip(self.pairs, self._stacked.view(len(self.pairs), len(self.ell), -1), strict=True))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """Return the operator on a device, with matrices in `dtype` (float32 errs by 1e-6 of D_l)."""
        out = super().to(device)
        out._stacked = out._stacked.to(dtype=dtype)
        return out

    def at_ell(
        self,
        power: torch.Tensor,  # shape: (batch, n_k)
    ) -> dict[str, torch.Tensor]:
        """Return unlensed spectra at :attr:`ell`, each of shape (batch, n_ell), float64.

        Parameters
        ----------
        power : torch.Tensor, shape (batch, n_k)
            Dimensionless P_R (scalars) or P_T (tensors) at :attr:`k`.

        Raises
        ------
        SpectrumError
            If the shape is another.
        """
        if power.ndim != 2 or power.shape[1] != len(self.k):
            raise SpectrumError(
                f"P(k): expected shape (batch, {len(self.k)}) at the operator's k, found {tuple(power.shape)}"
            )
        rows = power.to(self._stacked.dtype) @ self._stacked.T
        parts = rows.double().view(len(power), len(self.pairs), -1)
        return {p: parts[:, i] for i, p in enumerate(self.pairs)}

    def unlensed(
        self,
        power: torch.Tensor,  # shape: (batch, n_k)
    ) -> dict[str, torch.Tensor]:
        """Return unlensed D_l [uK^2] (pp: [L(L+1)]^2 C_L/2pi) from l = 0, each of shape (batch, lmax + 1).

        Parameters
        ----------
        power : torch.Tensor, shape (batch, n_k)
            Dimensionless P at :attr:`k`.

        Raises
        ------
        SpectrumError
            If the operator does not hold every multipole from 2 up.
        """
        require_every_multipole(self._own_ell)
        return {p: torch.nn.functional.pad(x, (2, 0)) for p, x in self.at_ell(power).items()}


def require_every_multipole(ell: np.ndarray) -> None:
    """Raise :class:`SpectrumError` unless `ell` runs from 2 in steps of one."""
    if ell[0] != 2 or len(ell) != ell[-1] - 1:
        raise SpectrumError(
            f"this operator holds {len(ell)} of the multipoles 2..{ell[-1]}; ask for `at_ell`, or "
            "compute it with l_sampling = 50"
        )


def full_matrices(transfer: CambTransfer) -> dict[str, np.ndarray]:
    """Return pair to W, shape (n_ell, n_q)."""
    return _assemble(transfer, len(transfer.q), lambda w: w)


def compressed_matrices(transfer: CambTransfer, nodes: np.ndarray, distance: float) -> dict[str, np.ndarray]:
    """Return pair to W A: the response to P at nodes instead of at CAMB's wavenumbers.

    Parameters
    ----------
    transfer : CambTransfer
    nodes : numpy.ndarray, shape (n_nodes,)
        Wavenumbers [1/Mpc] of a cosmology whose distance to last scattering is `distance`.
    distance : float
        [Mpc]. The nodes stand for the same angles: P is wanted at nodes * distance / transfer.distance.
    """
    scaled = torch.from_numpy(transfer.q * (transfer.distance / distance))
    index, weight = lagrange(torch.from_numpy(nodes), scaled)
    rows = np.repeat(np.arange(len(transfer.q)), ORDER)
    shape = (len(transfer.q), len(nodes))
    spread = csr_array((weight.numpy().ravel(), (rows, index.numpy().ravel())), shape=shape).T.tocsr()
    return _assemble(transfer, len(nodes), lambda w: (spread @ w.T).T)


def _assemble(transfer: CambTransfer, n_k: int, project: Any) -> dict[str, np.ndarray]:
    out = {p: np.empty((len(transfer.ell), n_k)) for p in PAIRS[transfer.settings.kind]}
    for rows, block in transfer.blocks():
        for pair, w in block.items():
            out[pair][rows] = project(w)
    return out


def combined(operators: Iterable[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Add unlensed spectra, e.g. of scalars and tensors, each cut or zero-padded to the longest."""
    operators = list(operators)
    n = max(x.shape[1] for part in operators for x in part.values())
    out: dict[str, torch.Tensor] = {}
    for part in operators:
        for pair, x in part.items():
            padded = torch.nn.functional.pad(x, (0, n - x.shape[1]))
            out[pair] = out[pair] + padded if pair in out else padded
    return out
