"""Figures and the tables beside them: what is plotted is what was computed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from cmbfit.errors import DataError
from cmbfit.figures.chains import plot_traces, trace_table
from cmbfit.figures.emulator import emulator_error_table, plot_emulator_error
from cmbfit.figures.posterior import marginal_table, plot_corner
from cmbfit.figures.residuals import bandpower_table, plot_residuals
from cmbfit.figures.style import save_figure
from cmbfit.inference.ensemble import Chain
from cmbfit.inference.products import Samples
from cmbfit.likelihood.base import Likelihood
from cmbfit.theory.emulator.linear import LinearEmulator

from .overlaps import text_overlaps


def saved(fig: Figure, path: Path, table: dict[str, np.ndarray]) -> list[dict[str, str]]:
    assert text_overlaps(fig) == []
    save_figure(fig, path, table)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".csv", ".pdf", ".png"]
    with path.with_suffix(".csv").open() as f:
        return list(csv.DictReader(f))


def test_residual_table_rebuilds_chi2(
    tmp_path: Path, emulator: LinearEmulator, likelihoods: dict[str, Likelihood]
) -> None:
    theta = torch.tensor([[0.0224, 0.12, 1.041, 0.055, 3.045, 0.965]], dtype=torch.float64)
    spectra = emulator.spectra(theta)
    one = {"A_planck": torch.ones(1, dtype=torch.float64)}
    # the two low-l bins are uncorrelated: their chi2 is the sum of squared residuals
    bins = bandpower_table([likelihoods["bins"]], spectra, one)
    chi2 = (((bins["dl"] - bins["model"]) / bins["sigma"]) ** 2).sum()
    assert chi2 == pytest.approx(-2 * likelihoods["bins"].log_prob(spectra, one).item(), rel=1e-9)
    table = bandpower_table([likelihoods["ttteee"], likelihoods["bins"]], spectra, one)
    assert len(table["ell"]) == 615
    rows = (table["pair"] == "tt") & (table["ell"] > 30)
    # an effective D_l lies near the model's D_l at that multipole: bins are narrow (5 to 33 multipoles)
    there = spectra.dl["tt"][0].numpy()[np.rint(table["ell"][rows]).astype(int)]
    np.testing.assert_allclose(table["model"][rows], there, rtol=0.02)
    fig = plot_residuals(table, spectra, {"plik": 584.2, "total": 600.0})
    assert len(fig.axes) == 6
    out = saved(fig, tmp_path / "residuals", table)
    np.testing.assert_array_equal([float(r["dl"]) for r in out], table["dl"])


def test_trace_table_holds_walker_quantiles(tmp_path: Path, rng: np.random.Generator) -> None:
    def chain() -> Chain:
        x = rng.standard_normal((60, 8, 2))
        return Chain(
            ("ombh2", "ns"), x, x.sum(2), np.ones(2), [(30, [1, 1]), (60, [1, 2])], 0.4, True, 1, 1, {}
        )

    chains = [chain(), chain()]
    table = trace_table(chains)
    assert len(table["step"]) == 120
    second = table["ensemble"] == 1
    np.testing.assert_allclose(table["ns_mean"][second], chains[1].samples[:, :, 1].mean(1))
    np.testing.assert_allclose(
        table["ombh2_q84"][~second], np.quantile(chains[0].samples[:, :, 0], 0.84, axis=1)
    )
    fig = plot_traces(chains, 50)
    assert [ax.get_ylabel() for ax in fig.axes if ax.get_visible()].count(
        "longest autocor-\nrelation time [steps]"
    ) == 1
    saved(fig, tmp_path / "traces", table)


# inside GetDist 1.7.7 with Matplotlib 3.11
@pytest.mark.filterwarnings("ignore:The format attribute was deprecated:DeprecationWarning")
def test_corner_density_is_that_of_the_samples(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.multivariate_normal([0.0224, 0.965], [[2.25e-8, 3e-7], [3e-7, 1.6e-5]], size=20_000)
    samples = Samples(
        ("ombh2", "ns"),
        [x[:10_000], x[10_000:]],
        [np.zeros(10_000)] * 2,
        2,
        {"ombh2": (None, None), "ns": (0.9, 1.1)},
    )
    published = {"ombh2": (0.0224, 1.5e-4)}
    table = marginal_table(samples, ["ombh2", "ns"], published)
    rows = table["parameter"] == "ombh2"
    # both are the same unit-height Gaussian; kernel smoothing widens by some percent
    np.testing.assert_allclose(table["density"][rows], table["published"][rows], atol=0.06)
    assert np.isnan(table["published"][~rows]).all()
    fig = plot_corner(samples, ["ombh2", "ns"], published, "here", "there")
    assert {t.get_text() for t in fig.texts} >= {"here", "there (dashed)"}
    saved(fig, tmp_path / "corner", table)


def test_emulator_error_table_keeps_percentiles_apart(tmp_path: Path, rng: np.random.Generator) -> None:
    box, posterior = ({p: np.sort(rng.uniform(1e-4, 1, (4, 50)), axis=0) for p in ("tt", "te", "ee", "pp")} for _ in "ab")  # fmt: skip
    table = emulator_error_table(box, posterior)
    np.testing.assert_array_equal(table["ell"], np.arange(2, 50))
    np.testing.assert_array_equal(table["box_ee_99"], box["ee"][2, 2:])
    np.testing.assert_array_equal(table["posterior_pp_68"], posterior["pp"][0, 2:])
    saved(plot_emulator_error(box, posterior, 10, 5, 0.3), tmp_path / "emulator", table)


def test_tables_of_uneven_columns_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    box = {p: rng.uniform(0.1, 1, (4, 9)) for p in ("tt", "te", "ee", "pp")}
    fig = plot_emulator_error(box, box, 1, 1, 0.3)
    with pytest.raises(DataError, match="columns of one length"):
        save_figure(fig, tmp_path / "x", {"a": np.arange(3), "b": np.arange(4)})
    assert list(tmp_path.iterdir()) == []
