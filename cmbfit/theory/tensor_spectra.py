"""What primordial gravitational waves add to the spectra, by transfer functions of one background.

D_l = e^{-2 (tau - tau_0)} W_T P_T(k), with W_T at the centre of a transfer expansion. Tensors add a few
percent of the scalars' power at l < 200: that W_T stays at one background while the cosmology moves by a
few of Planck's errors changes them by percents of themselves, far below what the data see.
Lensing, which moves them by less, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import ParameterError, SpectrumError
from cmbfit.theory.primordial.model import PrimordialModel
from cmbfit.theory.transfer.operator import TransferOperator


class TensorSpectra(OnDevice):
    """Spectra of a registered model of tensors.

    Parameters
    ----------
    model : PrimordialModel
        Of tensors.
    operator : TransferOperator
        Of tensors, at every multipole.

    Raises
    ------
    ParameterError
        For a model of scalars.
    SpectrumError
        If the operator is not one of tensors.
    """

    def __init__(self, model: PrimordialModel, operator: TransferOperator) -> None:
        if model.kind != "tensor":
            raise ParameterError(
                f"tensors: expected a model of tensors, found {model.name}, one of {model.kind}s"
            )
        if "bb" not in operator.pairs:
            raise SpectrumError("tensors: expected transfer functions of tensors, found those of scalars")
        self.model, self.operator = model, operator
        self.tau = float(operator.settings["background"]["tau"])

    def power(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters of the model)
    ) -> torch.Tensor:  # shape: (batch, n_k)
        """Return P_T at the operator's wavenumbers."""
        return self.model.power(self.operator.k, theta)

    def allowed(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters of the model)
    ) -> torch.Tensor:  # shape: (batch,), bool
        """Return where the model makes sense."""
        with torch.no_grad():
            return self.model.valid(self.operator.k, theta)

    def damping(
        self,
        tau: torch.Tensor,  # shape: (batch,)
    ) -> torch.Tensor:  # shape: (batch, 1)
        """Return exp(-2 tau) relative to the operator's."""
        return torch.exp(-2 * (tau - self.tau))[:, None]

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters of the model)
        tau: torch.Tensor,  # shape: (batch,)
        lmax: int,
    ) -> dict[str, torch.Tensor]:
        """Return D_l [uK^2] of tt, te, ee and bb from l = 0, each of shape (batch, lmax + 1), zero beyond the operator."""
        dl = self.operator.unlensed(self.power(theta))
        damping = self.damping(tau)
        return {p: _to_length(x * damping, lmax + 1) for p, x in dl.items()}

    def pull_back(
        self,
        rows: Mapping[str, torch.Tensor],  # pair -> shape (n_rows, lmax + 1)
    ) -> torch.Tensor:  # shape: (n_rows, n_k)
        """Return what linear functionals of D_l are as functionals of P_T, before :meth:`damping`."""
        matrices = self.operator.matrices
        parts = [
            _to_length(x, self.operator.lmax + 1)[:, 2:] @ matrices[p].to(x.dtype)
            for p, x in rows.items()
            if p in matrices
        ]
        return torch.stack(parts).sum(0)


def _to_length(x: torch.Tensor, n: int) -> torch.Tensor:
    """Cut or pad with zeros along the last axis."""
    return torch.nn.functional.pad(x[..., :n], (0, max(0, n - x.shape[-1])))
