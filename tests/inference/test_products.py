"""Chains on disk, read back."""

from __future__ import annotations

from pathlib import Path

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
    write_chain,
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
    # a fifth of 250 steps is left out; tau = 2 keeps every step; walker by walker
    np.testing.assert_array_equal(
        samples.values[1][:, :2], chains[1].samples[50:].swapaxes(0, 1).reshape(-1, 2)
    )
    assert samples.names == ("ombh2", "tau", "H0")
    assert samples.n_sampled == 2
    write_samples(tmp_path / "s.h5", samples)
    got = read_samples(tmp_path / "s.h5")
    assert (got.names, got.n_sampled, got.ranges) == (samples.names, samples.n_sampled, samples.ranges)
    assert (got.walkers, got.priors) == (16, samples.priors)
    for a, b in ((got.values, samples.values), (got.log_prob, samples.log_prob)):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(got.column("H0"), np.concatenate([v[:, 2] for v in samples.values]))


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
    tau = np.concatenate([c.samples[50:, :, 1].T.ravel() for c in chains])
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
