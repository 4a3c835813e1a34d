r"""A fast stand-in for the pixel likelihood of one auto spectrum: its quadratic estimates, skewed the right way.

With D^ the quadratic estimates of single multipoles and M their covariance at a fiducial D_f,

    -2 ln L = X^T M^-1 X,    X_l = D_f,l g(D^_l / D_l),    g(x) = sign(x - 1) sqrt(2 (x - ln x - 1)),

exact on the full sky (Hamimeche & Lewis 2008, arXiv:0801.0554, for one field). A model costs a product with
M^-1 instead of a Cholesky factor of a thousand modes. How well it follows the pixel likelihood is measured
(:meth:`LowlBandpowers.against`), not assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, nuisance_values
from cmbfit.likelihood.hamimeche_lewis import g
from cmbfit.likelihood.pixel.estimate import quadratic_estimate
from cmbfit.likelihood.pixel.likelihood import PixelLikelihood
from cmbfit.theory.spectra import Spectra


class LowlBandpowers(OnDevice):
    """ln L of single multipoles of one auto spectrum; 0 where the model is the estimate.

    Parameters
    ----------
    info : DataSetInfo
    pixels : PixelLikelihood
        It must vary one auto spectrum.
    fiducial : Spectra
        One model: where the covariance of the estimates is taken.

    Raises
    ------
    LikelihoodError
        For cross spectra, several spectra, or an estimate that is not positive (noise dominated: the form
        is not meant for it; use the pixel likelihood).
    """

    def __init__(self, info: DataSetInfo, pixels: PixelLikelihood, fiducial: Spectra) -> None:
        if len(pixels.pairs) != 1 or pixels.pairs[0][0] != pixels.pairs[0][1]:
            raise LikelihoodError(f"{info.name}: expected one auto spectrum, found {', '.join(pixels.pairs)}")
        pair = pixels.pairs[0]
        estimate = quadratic_estimate(pixels, fiducial)
        if not (estimate.dl > 0).all():
            worst = int(np.argmin(estimate.dl))
            raise LikelihoodError(
                f"{info.name}: the estimate at l = {estimate.ell[worst]} is {estimate.dl[worst]:.3g} uK^2; this form "
                "needs positive ones: use the pixel likelihood itself"
            )
        self.info, self.pairs = info, (pair,)
        self.lmin, self.lmax = int(estimate.ell[0]), int(estimate.ell[-1])
        self.estimate = estimate
        self._pixels = pixels
        self._data = torch.from_numpy(estimate.dl)
        self._fiducial = fiducial.dl[pair][0, self.lmin : self.lmax + 1].detach().cpu().clone()
        self._inverse = torch.from_numpy(np.linalg.inv(estimate.covariance))

    def settings(self) -> dict[str, Any]:
        """Return the pixel likelihood's settings and the form."""
        return {**self._pixels.settings(), "kind": "pixel, bandpower form"}

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L; -inf for power that is not positive."""
        spectra.require(self.pairs, self.lmax)
        nuisance_values(self.info, nuisance, spectra.batch)
        dl = spectra.dl[self.pairs[0]][:, self.lmin : self.lmax + 1]
        possible = dl > 0
        x = self._fiducial * g(self._data / torch.where(possible, dl, 1.0))
        value = -0.5 * ((x @ self._inverse) * x).sum(1)
        return torch.where(possible.all(1), value, -torch.inf)

    def against(self, spectra: Spectra) -> torch.Tensor:  # shape: (batch,)
        """Return ln L of this form less that of the pixels, both counted from the first model."""
        nuisance = {name: torch.ones(spectra.batch, dtype=torch.float64) for name in self.info.nuisance}
        ours, exact = self.log_prob(spectra, nuisance), self._pixels.log_prob(spectra, nuisance)
        return (ours - ours[0]) - (exact - exact[0])
