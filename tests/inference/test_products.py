"""Chains on disk, read back by the programs that users read them with."""

from __future__ import annotations

import warnings
from pathlib import Path

import getdist
import h5py
import numpy as np
import pytest

from cmbfit.errors import DataError
from cmbfit.inference.chain import Chain
from cmbfit.inference.maximum import BestFit
from cmbfit.inference.products import (
    Samples,
    collect_samples,
    read_chain,
    read_samples,
    write_arviz,
    write_chain,
    write_getdist,
    write_samples,
)
from cmbfit.inference.summary import summarise

MEAN, SIGMA = np.array([0.0224, 0.055, 67.3]), np.array([1.5e-4, 0.007, 0.6])


def make_chain(rng: np.random.Generator) -> Chain:
    samples = MEAN[:2] + SIGMA[:2] * rng.standard_normal((250, 16, 2))
    log_prob = -0.5 * (((samples - MEAN[:2]) / SIGMA[:2]) ** 2).sum(2)
    history = [(100, [1.5, 2.0]), (250, [2.0, 2.0])]
    return Chain(
        ("ombh2", "tau"),
        samples,
        log_prob,
        np.array([2.0, 2.0]),
        history,
        0.4,
        True,
        1.5,
        99,
        {"outside_box": 3},
    )


@pytest.fixture
def chains(rng: np.random.Generator) -> list[Chain]:
    return [make_chain(rng), make_chain(rng)]


@pytest.fixture
def samples(chains: list[Chain], rng: np.random.Generator) -> Samples:
    h0 = [{"H0": MEAN[2] + SIGMA[2] * rng.standard_normal(200 * 16)} for _ in chains]
    return collect_samples(chains, h0, {"ombh2": (None, None), "tau": (0.04, None)})


def test_getdist_finds_the_posterior_that_the_weights_make(tmp_path: Path, samples: Samples) -> None:
    """ln w = d x - d^2 / 2 moves a unit normal by d; -ln posterior of a row falls by ln w."""
    d = 0.3
    x = [(v[:, 0] - MEAN[0]) / SIGMA[0] for v in samples.values]
    weights = [np.exp(d * u - d * d / 2) for u in x]
    write_getdist(tmp_path / "plain", samples)
    write_getdist(tmp_path / "moved", samples, weights)
    plain, moved = (
        getdist.loadMCSamples(str(tmp_path / name), settings={"ignore_rows": 0})
        for name in ("plain", "moved")
    )
    # 6400 draws: the weighted mean scatters by 1.3% of sigma
    assert (moved.mean("ombh2") - plain.mean("ombh2")) / SIGMA[0] == pytest.approx(d, abs=0.06)
    assert moved.mean("tau") == pytest.approx(plain.mean("tau"), abs=0.06 * SIGMA[1])
    one, two = (np.loadtxt(tmp_path / f"{name}.1.txt") for name in ("plain", "moved"))
    np.testing.assert_allclose(one[:, 1] - two[:, 1], np.log(weights[0]), atol=1e-6)
    np.testing.assert_allclose(two[:, 0], weights[0], rtol=1e-8)


def test_a_chain_is_read_back_exactly(tmp_path: Path, chains: list[Chain]) -> None:
    write_chain(tmp_path / "c.h5", chains[0], {"seed": 3, "data": ["a"]})
    got, settings = read_chain(tmp_path / "c.h5")
    assert settings == {"seed": 3, "data": ["a"]}
    for name, value in vars(chains[0]).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(got, name), value, err_msg=name)
        else:
            assert getattr(got, name) == value, name


def test_samples_are_joined_after_burn_in_and_read_back_exactly(
    tmp_path: Path, chains: list[Chain], samples: Samples
) -> None:
    # a fifth of 250 steps is left out; tau = 2 keeps every step
    np.testing.assert_array_equal(samples.values[1][:, :2], chains[1].samples[50:].reshape(-1, 2))
    assert samples.names == ("ombh2", "tau", "H0")
    assert samples.n_sampled == 2
    write_samples(tmp_path / "s.h5", samples)
    got = read_samples(tmp_path / "s.h5")
    assert (got.names, got.n_sampled, got.ranges) == (samples.names, samples.n_sampled, samples.ranges)
    for a, b in ((got.values, samples.values), (got.log_prob, samples.log_prob)):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(got.column("H0"), np.concatenate([v[:, 2] for v in samples.values]))


def test_getdist_reads_its_files(tmp_path: Path, samples: Samples) -> None:
    written = write_getdist(tmp_path / "fit", samples)
    assert {p.name for p in written} == {p.name for p in tmp_path.iterdir()} == {
        "fit.1.txt", "fit.2.txt", "fit.paramnames", "fit.ranges",
    }  # fmt: skip
    got = getdist.loadMCSamples(str(tmp_path / "fit"), settings={"ignore_rows": 0}, no_cache=True)
    assert got.numrows == 2 * 3200
    names = got.getParamNames()
    assert names.list() == ["ombh2", "tau", "H0"]
    assert [p.name for p in names.names if p.isDerived] == ["H0"]
    assert names.parWithName("ombh2").label == r"\Omega_\mathrm{b} h^2"
    # ten digits are written
    for i, name in enumerate(names.list()):
        x = samples.joined[:, i]
        assert got.mean(name) == pytest.approx(x.mean(), rel=1e-8)
        assert got.std(name) == pytest.approx(x.std(), rel=1e-6)
    np.testing.assert_allclose(got.loglikes, -np.concatenate(samples.log_prob), rtol=1e-8)
    assert got.ranges.getLower("tau") == 0.04
    assert got.ranges.getUpper("tau") is None
    # limits of a normal: +-1 sigma at 68.3%; 6400 draws and smoothing: some percent of sigma
    limits = got.getMargeStats().parWithName("H0").limits[0]
    assert limits.lower == pytest.approx(np.percentile(samples.column("H0"), 16), abs=0.1 * SIGMA[2])
    assert limits.upper == pytest.approx(np.percentile(samples.column("H0"), 84), abs=0.1 * SIGMA[2])


def test_arviz_reads_its_file(tmp_path: Path, samples: Samples) -> None:
    write_arviz(tmp_path / "fit.nc", samples)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="arviz")  # announces its refactoring
        import arviz
    data = arviz.from_netcdf(tmp_path / "fit.nc")
    assert data.posterior.sizes == {"chain": 2, "draw": 3200}
    for i, name in enumerate(samples.names):
        np.testing.assert_array_equal(data.posterior[name], [v[:, i] for v in samples.values])
    np.testing.assert_array_equal(data.sample_stats["lp"], samples.log_prob)
    data.close()
    assert [p.name for p in tmp_path.iterdir()] == ["fit.nc"]


@pytest.mark.parametrize("keep", [0.0, 0.4, 0.9])
def test_damaged_files_are_refused_by_name(
    tmp_path: Path, chains: list[Chain], samples: Samples, keep: float
) -> None:
    write_chain(tmp_path / "c.h5", chains[0], {})
    write_samples(tmp_path / "s.h5", samples)
    for name, read in (("c.h5", read_chain), ("s.h5", read_samples)):
        raw = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(raw[: int(keep * len(raw))])
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f.create_dataset("x", data=[1.0])
    for name in ("absent.h5", "other.h5"):
        for read in (read_chain, read_samples):
            with pytest.raises(DataError, match=name):
                read(tmp_path / name)


def test_summary_numbers_are_those_of_numpy(chains: list[Chain], samples: Samples) -> None:
    best = BestFit({"ombh2": 0.0224, "tau": 0.05}, -1.5, {"a": 10.0, "b": 2.5}, 20)
    summary = summarise(samples, chains, best, {"tau": (0.0544, 0.0073)})
    tau = np.concatenate([c.samples[50:, :, 1].ravel() for c in chains])
    entry = summary["parameters"]["tau"]
    assert entry["mean"] == pytest.approx(np.mean(tau), rel=1e-12)
    assert entry["std"] == pytest.approx(np.std(tau, ddof=1), rel=1e-12)
    assert (entry["q16"], entry["q50"], entry["q84"]) == tuple(np.quantile(tau, [0.16, 0.5, 0.84]))
    assert entry["pull"] == pytest.approx((np.mean(tau) - 0.0544) / 0.0073, rel=1e-9)
    assert entry["width_ratio"] == pytest.approx(np.std(tau, ddof=1) / 0.0073, rel=1e-9)
    assert summary["parameters"]["ombh2"]["pull"] is None
    assert summary["chi2"] == {"a": 10.0, "b": 2.5, "total": 12.5}
    convergence = summary["convergence"]
    assert convergence["steps"] == [250, 250]
    assert convergence["steps_over_tau"] == [125.0, 125.0]
    assert convergence["effective_samples_min"] == 2 * 200 * 16 / 2
    assert convergence["kept_samples"] == 6400
    assert abs(convergence["r_minus_1_max"]) < 0.01
    assert convergence["zero_probability"] == [{"outside_box": 3}] * 2
