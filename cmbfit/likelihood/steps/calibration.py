"""Calibrations: what maps are divided or multiplied by (Dutcher et al. 2021; Choi et al. 2020; Louis et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from cmbfit.errors import LikelihoodError, shown
from cmbfit.likelihood.steps.base import Nuisance, Rescale, Setting


class Powers(Rescale):
    """A product of powers of nuisance parameters for each spectrum.

    Parameters
    ----------
    rows : sequence of mapping
        Parameters and powers of each spectrum.
    """

    def __init__(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.rows = [dict(row) for row in rows]
        self.parameters = tuple(dict.fromkeys(name for row in self.rows for name in row))

    def powers(self) -> list[dict[str, float]]:
        """Return parameters and powers."""
        return self.rows

    def factors(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the products, shape (batch, n_spectra)."""
        out = None
        for name in self.parameters:
            power = [row.get(name, 0.0) for row in self.rows]
            x = nuisance[name]
            columns = torch.stack([x**p if p else torch.ones_like(x) for p in power], dim=1)
            out = columns if out is None else out * columns
        if out is None:
            return torch.ones(1, len(self.rows), dtype=torch.float64)
        return out


class CalibrationSingleScalar(Powers):
    """Divide all spectra by one parameter."""

    def __init__(self, setting: Setting, *, cal_param: str) -> None:
        super().__init__([{cal_param: -1.0}] * len(setting.spectra))


class CalibrationSingleScalarSquared(Powers):
    """Divide all spectra by the square of one parameter, a calibration of maps."""

    def __init__(self, setting: Setting, *, cal_param: str) -> None:
        super().__init__([{cal_param: -2.0}] * len(setting.spectra))


_LEGS = {"te": 1.0, "ee": 2.0}


class PolarisationCalibration(Powers):
    """Multiply TE by one parameter and EE by its square: ACT DR4's y_p (Choi et al. 2020, arXiv:2007.07289)."""

    sign = 1.0

    def __init__(self, setting: Setting, *, cal_param: str) -> None:
        rows = [{cal_param: self.sign * _LEGS[s.pair]} if s.pair in _LEGS else {} for s in setting.spectra]
        super().__init__(rows)


class PolarisationCalibrationDivision(PolarisationCalibration):
    """Divide instead (Louis et al. 2025, arXiv:2503.14452)."""

    sign = -1.0


class CalibrationAuto(Powers):
    """Divide a spectrum by each of the parameters that are listed for it."""

    def __init__(
        self,
        setting: Setting,
        *,
        spec_param_dict: Mapping[str, Sequence[str]],
        inverse_calibration: bool = False,
    ) -> None:
        setting.affected(spec_param_dict, "spec_param_dict")
        rows = []
        for spectrum in setting.spectra:
            row: dict[str, float] = {}
            for name in _names(spec_param_dict, spectrum.name):
                row[name] = row.get(name, 0.0) + (1.0 if inverse_calibration else -1.0)
            rows.append(row)
        super().__init__(rows)


def _names(listed: Mapping[str, Sequence[str]], spectrum: str) -> list[str]:
    names = listed.get(spectrum, [])
    if isinstance(names, str) or not all(isinstance(x, str) for x in names):
        raise LikelihoodError(
            f"spec_param_dict: {spectrum}: expected a list of parameters, found {shown(names)}"
        )
    return list(names)


class CalibrationCross(Rescale):
    """Divide a spectrum by the mean of two products of parameters, (c1 c2 + c3 c4) / 2.

    A TE spectrum of two frequencies is the mean of T_1 E_2 and T_2 E_1 (Dutcher et al. 2021, eq. 25).
    """

    def __init__(self, setting: Setting, *, spec_param_dict: Mapping[str, Sequence[str]]) -> None:
        setting.affected(spec_param_dict, "spec_param_dict")
        self.rows = [_names(spec_param_dict, s.name) for s in setting.spectra]
        for spectrum, row in zip(setting.spectra, self.rows, strict=True):
            if row and len(row) != 4:
                raise LikelihoodError(
                    f"spec_param_dict: {spectrum.name}: expected four parameters, found {len(row)}"
                )
        self.parameters = tuple(dict.fromkeys(name for row in self.rows for name in row))

    def powers(self) -> list[dict[str, float]] | None:
        """Return parameters and powers if all the means are of equal products."""
        out: list[dict[str, float]] = []
        for row in self.rows:
            if sorted(row[:2]) != sorted(row[2:]):
                return None
            powers: dict[str, float] = {}
            for name in row[:2]:
                powers[name] = powers.get(name, 0.0) - 1.0
            out.append(powers)
        return out

    def factors(self, nuisance: Nuisance) -> torch.Tensor:
        """Return 2 / (c1 c2 + c3 c4), shape (batch, n_spectra)."""
        one = (
            torch.ones_like(nuisance[self.parameters[0]])
            if self.parameters
            else torch.ones(1, dtype=torch.float64)
        )
        columns = []
        for row in self.rows:
            if not row:
                columns.append(one)
                continue
            a, b, c, d = (nuisance[name] for name in row)
            columns.append(2 / (a * b + c * d))
        return torch.stack(columns, dim=1)
