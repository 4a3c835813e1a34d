"""The figure of a fitted primordial model: what it plots, worked out by hand on made-up spectra."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cmbfit.figures.reconstruction import plot_reconstruction, reconstruction
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.theory.spectra import Spectra

ELL = torch.arange(6, dtype=torch.float64)
POWER_LAW = {"tt": (20 * ELL) ** 2, "te": -40 * ELL, "ee": torch.full_like(ELL, 9.0)}  # sqrt(TT EE) = 60 l
FEATURE = {"tt": 20 * ELL**2, "te": 6 * ELL, "ee": torch.full_like(ELL, -2.7)}  # of unit amplitude


class MadeUp:
    """A theory of one parameter, the amplitude of a feature."""

    lmax = 5
    model = SimpleNamespace(power=lambda k, theta: 2e-9 * (1 + theta) * torch.ones_like(k))

    def split(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return theta, theta

    def imprint(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        return {pair: theta * x for pair, x in FEATURE.items()}

    def spectra(self, theta: torch.Tensor) -> Spectra:
        return Spectra({pair: POWER_LAW[pair] + x for pair, x in self.imprint(theta).items()})


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    window = np.eye(6)[2:]
    data = (POWER_LAW["te"] + 3 * ELL)[2:].numpy()
    info = DataSetInfo("te", "made-up TE", {"toy": {"te": (2, 5)}}, 4, "none")
    like = GaussianBandpowers(info, {"te": window}, data, np.diag((1.2 * ELL[2:].numpy()) ** 2))
    draws, best = np.array([[0.0], [1.0], [2.0]]), np.array([1.0])
    return reconstruction(MadeUp(), draws, best, [like], {})  # type: ignore[arg-type]


# 20 l^2 / 400 l^2, 6 l / 60 l, -2.7 / 9
@pytest.mark.parametrize(("pair", "value"), [("tt", 0.05), ("te", 0.1), ("ee", -0.3)])
def test_a_change_is_in_units_of_the_power_law_and_of_sqrt_tt_ee_for_te(
    table: dict[str, np.ndarray], pair: str, value: float
) -> None:
    rows = table["what"] == f"imprint_{pair}"
    assert table["x"][rows].tolist() == [2, 3, 4, 5]
    assert table["value"][rows] == pytest.approx(np.full(4, value), rel=1e-12)
    assert table["q50"][rows] == pytest.approx(
        np.full(4, value), rel=1e-12
    )  # the middle draw is the best fit


def test_data_are_shown_less_the_power_law_in_the_same_units(table: dict[str, np.ndarray]) -> None:
    rows = table["what"] == "data_te"
    assert table["value"][rows] == pytest.approx(np.full(4, 3 / 60), rel=1e-12)
    assert table["error"][rows] == pytest.approx(np.full(4, 1.2 / 60), rel=1e-12)


def test_the_axis_says_what_te_is_divided_by(table: dict[str, np.ndarray]) -> None:
    axes = {ax.get_ylabel(): ax for ax in plot_reconstruction(table, "made up").axes}
    te = axes[r"$\Delta TE / \sqrt{TT\,EE}$"]
    assert te.lines[0].get_ydata() == pytest.approx(np.full(4, 0.1), rel=1e-12)
    assert r"$\Delta TT / D_\ell$" in axes
