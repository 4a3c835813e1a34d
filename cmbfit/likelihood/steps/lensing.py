"""Steps of a lensing spectrum, which act on bandpowers.

A quadratic estimator is normalised, and its N1 bias subtracted, with fiducial spectra. To first order
in the difference of the true spectra from these, the estimate responds linearly (Planck 2015 XV,
arXiv:1502.01591, appendix C; Madhavacheril et al. 2024, arXiv:2304.05203, section 5):

    model_b = W_b C^kk + sum_X M_bX (D^X - D^X_fid).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from cmbfit.errors import DataError, LikelihoodError, unknown_name
from cmbfit.likelihood.datasets.tables import embed
from cmbfit.likelihood.steps.base import AddBinned, Setting
from cmbfit.likelihood.steps.calibration import Powers
from cmbfit.units import dl_over_cl

KK_OF_PP = np.pi / 2
"""C_L^kappakappa = [L(L+1)]^2 C_L^phiphi / 4, which is pi/2 times our pp."""

# columns of candl's response files; the last one is of kk or pp, as the step says
_COLUMNS = ("TT", "TE", "EE", "BB")
_MODES = (*_COLUMNS, "pp", "kk")


def _tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))


class BinnedTemplateForeground(AddBinned):
    """A nuisance parameter times a template that is binned already (Pan et al. 2023, arXiv:2308.11608)."""

    def __init__(self, setting: Setting, *, template_file: str, amp_param: str) -> None:
        table = np.atleast_2d(setting.table(template_file))
        if table.shape != (setting.n_uncut, 2):
            raise DataError(
                f"{template_file}: expected the bin and its value in {setting.n_uncut} rows, found shape {table.shape}"
            )
        self.responses = {}
        self.parameters = (amp_param,)
        self.template = _tensor(table[setting.kept, 1])


class LensingAmplitude(Powers):
    """Multiply the bandpowers by a parameter."""

    def __init__(self, setting: Setting, *, amp_param: str) -> None:
        super().__init__([{amp_param: 1.0}] * len(setting.spectra))


class ResponseFunctionM(AddBinned):
    """Responses M of the bandpowers to spectra, a file for each bandpower with a column for each spectrum."""

    def __init__(
        self,
        setting: Setting,
        *,
        M_matrices_folder: str,
        Mmodes: Sequence[str],
        fiducial_correction_file: str,
        overwrite_ell_max: Mapping[str, int] | None = None,
    ) -> None:
        if unknown := [m for m in Mmodes if m not in _MODES]:
            raise LikelihoodError(f"Mmodes: {unknown_name('spectrum', str(unknown[0]), _MODES)}")
        if unknown := [m for m in overwrite_ell_max or {} if m not in Mmodes]:
            raise LikelihoodError(f"overwrite_ell_max: {unknown_name('spectrum', str(unknown[0]), Mmodes)}")
        folder = M_matrices_folder.rstrip("/")
        tables = [setting.table(f"{folder}/window_{b}.txt") for b in range(setting.n_uncut)]
        for b, table in enumerate(tables):
            if table.ndim != 2 or table.shape[1] != len(_COLUMNS) + 2 or table.shape != tables[0].shape:
                raise DataError(
                    f"{folder}/window_{b}.txt: expected l and {len(_COLUMNS) + 1} columns, found {table.shape}"
                )
        ell = tables[0][:, 0].astype(int)
        self.responses = {}
        for mode in Mmodes:
            column = _COLUMNS.index(mode) if mode in _COLUMNS else len(_COLUMNS)
            rows = np.stack([tables[b][:, column + 1] for b in setting.kept])
            rows[:, ell > (overwrite_ell_max or {}).get(mode, ell[-1])] = 0.0
            source = "pp" if mode in ("kk", "pp") else mode.lower()
            self.responses[source] = _tensor((KK_OF_PP if mode == "kk" else 1.0) * embed(rows, ell))
        fiducial = setting.table(fiducial_correction_file)
        if fiducial.ndim == 2 and fiducial.shape[1] == len(_COLUMNS) + 1:
            used = {min(_MODES.index(m), len(_COLUMNS)) for m in Mmodes}
            fiducial = fiducial[:, sorted(used)].sum(1)
        if fiducial.shape != (setting.n_uncut,):
            raise DataError(
                f"{fiducial_correction_file}: expected {setting.n_uncut} numbers, found shape {fiducial.shape}"
            )
        self.constant = -_tensor(fiducial[setting.kept])


class NormCorr(AddBinned):
    """Dependence of the normalisation on the CMB, -2 C^kk_fid / A_L dA_L/dC_l C_l, binned."""

    def __init__(
        self,
        setting: Setting,
        *,
        template_file_dAL_dC_TT: str,
        template_file_dAL_dC_TE: str,
        template_file_dAL_dC_EE: str,
        template_file_dAL_dC_BB: str,
        template_file_fAL: str,
        template_file_fiducial_Cl_kk: str,
        template_file_fiducial_correction: str,
    ) -> None:
        norm, kappa = setting.table(template_file_fAL), setting.table(template_file_fiducial_Cl_kk)
        ell = np.arange(2, 2 + len(norm))
        windows = setting.windows[0]
        binning = np.zeros((len(windows), len(norm)))
        width = min(len(norm), windows.shape[1])
        binning[:, :width] = windows[:, :width]
        self.responses = {}
        names = (
            template_file_dAL_dC_TT,
            template_file_dAL_dC_TE,
            template_file_dAL_dC_EE,
            template_file_dAL_dC_BB,
        )
        for spectrum, name in zip(_COLUMNS, names, strict=True):
            derivative = setting.table(name)
            if derivative.shape != (len(norm), len(norm)):
                raise DataError(
                    f"{name}: expected {len(norm)} x {len(norm)} numbers, found {derivative.shape}"
                )
            rows = -2 * (binning * (kappa / norm)) @ derivative / dl_over_cl(ell)
            self.responses[spectrum.lower()] = _tensor(embed(rows, ell))
        fiducial = setting.table(template_file_fiducial_correction)
        if fiducial.shape != (setting.n_uncut,):
            raise DataError(
                f"{template_file_fiducial_correction}: expected {setting.n_uncut} numbers, found shape {fiducial.shape}"
            )
        self.constant = -_tensor(fiducial[setting.kept])
