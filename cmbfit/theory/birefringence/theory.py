"""An emulator's spectra after a uniform rotation of polarisation."""

from __future__ import annotations

from typing import Any

import torch

from cmbfit.device import OnDevice
from cmbfit.theory.base import check_box
from cmbfit.theory.birefringence.rotation import rotate
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.spectra import Spectra

BOX = (-10.0, 10.0)
"""Range of the angle [degrees]: far from where sin 4 beta turns back."""


class RotatedTheory(OnDevice):
    """LCDM and `beta`, the angle in degrees by which polarisation is turned after recombination and lensing.

    ``theory: {class: rotated, options: {emulator: lcdm_high}}``. Signs as in
    :mod:`cmbfit.theory.birefringence.rotation`: COSMO, so that beta > 0 makes EB positive where EE > BB.

    Parameters
    ----------
    emulator : str
        Shipped name or folder.
    """

    title = "LCDM + rotation of polarisation"

    def __init__(self, emulator: str = "lcdm_planck2018") -> None:
        self._base = load_emulator(emulator)
        self.parameters = (*self._base.parameters, "beta")
        self.box = {**self._base.box, "beta": BOX}
        self.lmax = self._base.lmax

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the emulator."""
        return {**self._base.settings, "rotation": "uniform, of lensed spectra"}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return tt, te, ee, bb, tb, eb and pp; differentiable."""
        check_box(theta, self.parameters, self.box)
        return rotate(self._base.spectra(theta[:, :-1]), theta[:, -1])
