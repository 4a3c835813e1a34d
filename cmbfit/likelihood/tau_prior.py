"""A Gaussian measurement of one parameter, such as tau from low-l EE, as a data set of its own."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Self

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, nuisance_values
from cmbfit.theory.spectra import Spectra


class ParameterGaussian(OnDevice):
    """ln L = -((p - mean) / std)^2 / 2 of one parameter of the theory.

    A data set and not a prior: it says what sky it was made from (`info.sky`), so that the low-l EE
    behind a measurement of tau cannot be counted beside it.

    Parameters
    ----------
    info : DataSetInfo
    parameter : str
        Sampled or derived parameter that the theory reports with its spectra.
    mean, std : float
    """

    def __init__(self, info: DataSetInfo, parameter: str, mean: float, std: float) -> None:
        if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
            raise LikelihoodError(f"{info.name}: expected a finite mean and std > 0, found {mean}, {std}")
        self.info = info
        self.parameter = parameter
        self.mean = mean
        self.std = std
        self.pairs: tuple[str, ...] = ()
        self.lmax = 0

    def settings(self) -> dict[str, Any]:
        """Return parameter, mean and standard deviation; of a blinded mean, which the published one would give away, nothing."""
        mean = None if hasattr(self, "blinded") else self.mean
        return {"kind": "parameter", "parameter": self.parameter, "gaussian": [mean, self.std]}

    def shifted(self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]) -> Self:
        """Return the same measurement, its mean moved from the first model's value to the second one's."""
        self.log_prob(spectra, nuisance)  # that the parameter is there
        before, after = spectra.parameters[self.parameter]
        out = copy.copy(self)
        out.mean = self.mean + float(after - before)
        return out

    def log_prob_of_parameter(
        self,
        x: torch.Tensor,  # shape: (batch,)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L of the parameter's values."""
        return -0.5 * ((x - self.mean) / self.std) ** 2

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L of the parameter that stands beside the spectra.

        Raises
        ------
        LikelihoodError
            If the spectra come without that parameter, as those of a text file do.
        """
        nuisance_values(self.info, nuisance, spectra.batch)
        if self.parameter not in spectra.parameters:
            raise LikelihoodError(
                f"{self.info.name} needs the parameter {self.parameter} beside the spectra; "
                f"found {', '.join(spectra.parameters) or 'none'} (spectra of a file carry no parameters)"
            )
        return self.log_prob_of_parameter(spectra.parameters[self.parameter])
