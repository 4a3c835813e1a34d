"""A made-up universe whose spectra are exact polynomials of the parameters, times the known amplitude."""

from __future__ import annotations

import numpy as np

from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.train import FitSettings
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.parameters import DERIVED, LCDM

LMAX = 80
N_MODES = 5
SETTINGS = FitSettings(
    degree=2,
    weights=(1.0,) * 6,
    lowl_degree=2,
    lowl_weights=(1.0,) * 6,
    coordinates="tau",
    cmb_components=N_MODES,
    lensing_components=N_MODES,
    bb_components=N_MODES,
    unlensed_components=N_MODES,
)


class Universe:
    """Quadratic forms of the scaled parameters in front of smooth functions of l."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        ell = np.arange(LMAX + 1.0)
        self.level = {
            "tt": 1000 + 5 * ell,
            "te": 20 * np.sin(ell / 9),
            "ee": 2 + 0.3 * ell,
            "pp": 1e-7 + 0 * ell,
            "bb": 0.01 + 1e-4 * ell,
        }
        self.shape = {p: np.array([np.cos(k * ell / 25 + rng.uniform(0, 6)) for k in range(1, N_MODES + 1)])
                      for p in self.level}  # fmt: skip
        self.forms = rng.standard_normal((2, N_MODES, 6, 6)) * 0.02
        self.lines = rng.standard_normal((2, N_MODES, 6)) * 0.05
        self.lowl = rng.standard_normal((28, 6)) * 0.3
        self.logs = rng.standard_normal((len(DERIVED), 6)) * 0.1

    def theta(self, n: int) -> np.ndarray:
        low, high = np.array([LCDM_BOX[p] for p in LCDM]).T
        return self.rng.uniform(low, high, (n, 6))

    def spectra(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return dl (n, 5, LMAX + 1) and derived (n, 8)."""
        low, high = np.array([LCDM_BOX[p] for p in LCDM]).T
        x = 2 * (theta - low) / (high - low) - 1
        modes = np.einsum("ni,gkij,nj->gnk", x, self.forms, x) + np.einsum("gki,ni->gnk", self.lines, x)
        scalar = np.exp(theta[:, 4] - 3.05)
        damped = scalar * np.exp(-2 * (theta[:, 3] - 0.055))
        dl = np.zeros((len(theta), 5, LMAX + 1))
        for column, pair, group, amplitude in (
            (0, "tt", 0, damped), (1, "te", 0, damped), (2, "ee", 0, damped), (4, "pp", 1, scalar),
            (3, "bb", 1, damped * scalar),
        ):  # fmt: skip
            size = np.abs(self.level[pair]).max()
            dl[:, column] = amplitude[:, None] * (self.level[pair] + size * modes[group] @ self.shape[pair])
        dl[:, 2, 2:30] = scalar[:, None] * 0.05 * np.exp(x @ self.lowl.T + 0.1 * x[:, 3:4] * x[:, 5:6])
        dl[:, :, :2] = 0
        return dl, 10 * np.exp(x @ self.logs.T)

    def training_arrays(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return dl, unlensed (here: a fixed function of l times the lensed, but for low-l EE) and derived."""
        dl, derived = self.spectra(theta)
        unlensed = dl[:, :3] * (1 + 0.05 * np.sin(np.arange(LMAX + 1) / 7))
        unlensed[:, 2, :30] = dl[:, 2, :30]
        return dl, unlensed, derived

    def training_set(self, n: int) -> TrainingSet:
        theta = self.theta(n)
        return TrainingSet(theta, *self.training_arrays(theta), np.arange(n) // 2, [], {"code": "synthetic"})
