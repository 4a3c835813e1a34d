"""B modes as a fixed lensing spectrum plus r times a tensor spectrum: the theory of a fit of r alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import SpectrumError
from cmbfit.theory.base import check_box, point_from_values
from cmbfit.theory.spectra import Spectra


class TensorTemplate(OnDevice):
    """bb = lensing + r x tensors, both at one cosmology.

    Tensor power is proportional to r at fixed tilt, so this is exact but for the cosmology, which data
    of degree-scale B modes do not move: the published fits of r hold it fixed too.

    Parameters
    ----------
    lensing : torch.Tensor, shape (lmax + 1,)
        Lensing B modes, D_l [uK^2] from l = 0.
    tensors : torch.Tensor, shape (lmax + 1,)
        Tensor B modes at r = 1.
    settings : mapping
        What the templates were computed with.
    """

    parameters = ("r",)

    def __init__(self, lensing: torch.Tensor, tensors: torch.Tensor, settings: Mapping[str, Any]) -> None:
        if lensing.ndim != 1 or lensing.shape != tensors.shape or lensing.dtype != torch.float64:
            raise SpectrumError(
                f"expected two float64 spectra of one length, found {tuple(lensing.shape)} and {tuple(tensors.shape)}"
            )
        self._lensing = lensing
        self._tensors = tensors
        self.lmax = len(lensing) - 1
        self.box = {"r": (0.0, 3.0)}
        self.settings = dict(settings)

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, 1)
    ) -> Spectra:
        """Return bb of a batch of r.

        Raises
        ------
        OutsideBoxError
            For r outside [0, 3].
        """
        check_box(theta, self.parameters, self.box)
        r = theta[:, 0]
        return Spectra({"bb": self._lensing + r[:, None] * self._tensors}, {"r": r})


def tensor_template(cosmology: Mapping[str, float], lmax: int = 600, nt: float = 0.0) -> TensorTemplate:
    """Compute the templates with CAMB.

    Parameters
    ----------
    cosmology : mapping
        The six parameters of LCDM in any accepted spelling.
    nt : float
        Tensor tilt; 0 is what BICEP/Keck use. r is defined at 0.05/Mpc.
    """
    from cmbfit.theory.camb_code import CambSettings, CambTheory  # noqa: PLC0415  CAMB takes a second to import

    theory = CambTheory(CambSettings(lmax=lmax), extra=("r", "nt"))
    point = point_from_values(theory, {**cosmology, "r": 1.0, "nt": nt})
    without = point.clone()
    without[0, theory.parameters.index("r")] = 0.0
    lensing = theory.spectra(without).dl["bb"][0, : lmax + 1]
    both = theory.spectra(point).dl["bb"][0, : lmax + 1]
    return TensorTemplate(
        lensing, both - lensing, {**theory.settings, "cosmology": dict(cosmology), "nt": nt}
    )
