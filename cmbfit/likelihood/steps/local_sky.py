"""What the survey's patch does to the whole sky's spectra: aberration and super-sample lensing."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from cmbfit.likelihood.steps.base import Derivative, Nuisance, Setting
from cmbfit.units import dl_over_cl


def derivative_matrix(lmax: int) -> sparse.csr_array:
    """Return the matrix that turns D_l, given from l = 2 to `lmax`, into l(l+1)/2pi l dC_l/dl.

    Central differences, one-sided at the ends, as candl takes them.

    Returns
    -------
    scipy.sparse.csr_array, shape (lmax - 1, lmax - 1)
    """
    ell = np.arange(2, lmax + 1.0)
    to_dl = dl_over_cl(ell)
    n = len(ell)
    derivative = sparse.diags_array([-0.5, 0.5], offsets=[-1, 1], shape=(n, n)).tolil()
    derivative[0, :2] = derivative[-1, -2:] = [-1.0, 1.0]
    return sparse.csr_array(
        sparse.diags_array(to_dl * ell) @ derivative.tocsr() @ sparse.diags_array(1 / to_dl)
    )


class AberrationCorrection(Derivative):
    """C_l -> C_l - coefficient l dC_l/dl (Jeong et al. 2014, PRD 89, 023003, eq. 23).

    Parameters
    ----------
    aberration_coefficient : float
        beta <cos theta> of the patch.
    """

    def __init__(self, setting: Setting, *, aberration_coefficient: float) -> None:  # noqa: ARG002
        self.coefficient = float(aberration_coefficient)

    def coefficients(self, nuisance: Nuisance) -> tuple[float, float]:  # noqa: ARG002
        """Return 1 and minus the coefficient."""
        return 1.0, -self.coefficient


class SuperSampleLensing(Derivative):
    """C_l -> C_l - kappa (2 C_l + l dC_l/dl): the mean convergence of the patch.

    Manzotti, Hu & Benoit-Levy 2014 (arXiv:1401.7992), eq. 32: dln(l^2 C_l)/dln l times C_l.
    """

    def __init__(self, setting: Setting, *, kappa_param: str) -> None:  # noqa: ARG002
        self.parameters = (kappa_param,)

    def coefficients(self, nuisance: Nuisance) -> tuple[torch.Tensor, torch.Tensor]:
        """Return 1 - 2 kappa and -kappa, each (batch,)."""
        kappa = nuisance[self.parameters[0]]
        return 1 - 2 * kappa, -kappa
