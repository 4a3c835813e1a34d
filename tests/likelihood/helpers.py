"""A theory and a likelihood small enough that numpy and scipy say what they must give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cmbfit.likelihood import GaussianBandpowers
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.priors import Prior
from cmbfit.theory.spectra import Spectra


def one(batch: int = 1, value: float = 1.0) -> torch.Tensor:
    return torch.full((batch,), value, dtype=torch.float64)


def info(
    name: str = "toy",
    *,
    pairs: Mapping[str, tuple[int, int]] | None = None,
    survey: str = "toy",
    nuisance: Mapping[str, Prior] | None = None,
) -> DataSetInfo:
    return DataSetInfo(name, name, {survey: pairs or {"tt": (2, 20)}}, 5, "none", nuisance=nuisance or {})


def random_covariance(rng: np.random.Generator, n: int) -> np.ndarray:
    a = rng.standard_normal((n, n))
    covariance = a @ a.T + n * np.eye(n)
    return (covariance + covariance.T) / 2


class LineTheory:
    """tt = base + slopes . theta: a posterior with Gaussian data is exactly Gaussian."""

    parameters = ("ombh2", "ns")
    box = {"ombh2": (-5.0, 5.0), "ns": (-5.0, 5.0)}  # noqa: RUF012
    lmax = 20
    settings: dict[str, Any] = {"code": "line"}  # noqa: RUF012

    def __init__(self, rng: np.random.Generator) -> None:
        self.base = rng.uniform(5, 10, 21)
        self.slopes = rng.standard_normal((2, 21))

    def spectra(self, theta: torch.Tensor) -> Spectra:
        return Spectra({"tt": torch.from_numpy(self.base) + theta @ torch.from_numpy(self.slopes)})


def toy_likelihood(rng: np.random.Generator, name: str = "toy", **kwargs: Any) -> GaussianBandpowers:
    windows = {"tt": rng.uniform(0, 0.2, (5, 21))}
    data = rng.uniform(10, 20, 5)
    calibration = {n: {"tt": -2.0} for n in kwargs.get("nuisance", {})}
    return GaussianBandpowers(info(name, **kwargs), windows, data, random_covariance(rng, 5), calibration)
