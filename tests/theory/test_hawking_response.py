"""The response to evaporating holes: algebra on made-up runs, the shipped one against CLASS."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import ConfigError, DataError, OutsideBoxError, ParameterError, SolverError
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.hawking.injection_runs import (
    InjectionDesign,
    InjectionRuns,
    compute_injection,
    read_runs,
    write_runs,
)
from cmbfit.theory.hawking.response import (
    EvaporationTheory,
    fit_response,
    read_responses,
    write_responses,
)
from cmbfit.theory.parameters import LCDM
from cmbfit.theory.spectra import CMB_PAIRS

DESIGN = InjectionDesign(n_cosmologies=6, lmax=60, max_fractions={1e15: 1e-6, 1e16: 1e-3})
PLANCK = [0.02237, 0.1200, 1.04092, 0.0544, 3.044, 0.9649]


def added_depth(x: float, t: float) -> float:
    return 0.02 * x * math.exp(0.3 * t - 0.2 * math.log(x + 0.01))


def made_up_change(pair: str, size: float, norm: np.ndarray, log_a: float) -> np.ndarray:
    """Change of D_l: below l = 41 (but for bb) in proportion to the amplitude, else to the norm."""
    ell = np.arange(len(norm))
    shape = np.sin(ell / 9 + CMB_PAIRS.index(pair))
    low = {"tt": 1000.0, "te": 3.0, "ee": 0.03}.get(pair, 0.0) * math.exp(log_a - 3.044)
    return size * shape * np.where((ell <= 40) & (pair != "bb"), low, norm)


def made_up_runs(design: InjectionDesign) -> InjectionRuns:
    """Effects that the response can hold exactly: an added optical depth of its form, times a shape."""
    base, rows = load_emulator("lcdm_high"), []
    for i in range(design.n_cosmologies):
        point, units = design.point(i)
        low, high = design.box["tau"]
        t = 2 * (point["tau"] - low) / (high - low) - 1
        for (mass, top), unit in zip(design.max_fractions.items(), units, strict=True):
            for u in unit:
                size = added_depth(u, t)
                sign = 1 if mass < 3e15 else -1
                theta = torch.tensor([list(point.values())], dtype=torch.float64)
                dl = {p: x[0, : design.lmax + 1].numpy() for p, x in base.spectra(theta).dl.items()}
                relative = {**dl, "te": np.sqrt(dl["tt"] * dl["ee"])}
                effect = np.zeros((4, design.lmax + 1))
                for k, pair in enumerate(CMB_PAIRS):
                    change = made_up_change(pair, size, relative[pair], point["logA"])
                    effect[k, 2:] = sign * change[2:] / relative[pair][2:]
                rows.append((list(point.values()), mass, u * top, effect, point["tau"] + size, i))
    theta, mass, fraction, effect, tau, number = zip(*rows, strict=True)
    arrays = [np.array(x) for x in (theta, mass, fraction, effect, tau, number)]
    return InjectionRuns(*arrays, settings={"design": design.settings(), "class": "none"})


def test_design_covers_and_repeats() -> None:
    point, units = DESIGN.point(3)
    again, same = DESIGN.point(3)
    assert point == again
    assert np.array_equal(units, same)
    assert units.shape == (2, 2)
    assert ((units >= 0) & (units < 1)).all()
    assert np.allclose(np.abs(units[:, 0] - units[:, 1]), 0.5)  # draws are spread evenly
    assert all(DESIGN.box[p][0] <= x <= DESIGN.box[p][1] for p, x in point.items())
    with pytest.raises(ConfigError, match=r"0\.\.5"):
        DESIGN.point(6)
    with pytest.raises(ConfigError, match="masses"):
        InjectionDesign(max_fractions={1e20: 0.1})


def test_response_recovers_what_it_can_hold(tmp_path: Path) -> None:
    runs = made_up_runs(InjectionDesign(n_cosmologies=16, lmax=60, max_fractions={1e15: 1e-6, 1e16: 1e-3}))
    write_runs(tmp_path / "a.npz", runs)
    runs = read_runs([tmp_path / "a.npz"])
    base = load_emulator("lcdm_high")
    responses = [fit_response(runs, base, m, n_components=1) for m in (1e15, 1e16)]
    write_responses(tmp_path / "r.npz", responses, runs.settings)
    got = read_responses(tmp_path / "r.npz")
    assert set(got) == {1e15, 1e16}
    assert got[1e15].error["relative"] < 1e-4  # single precision and the smallest ridge

    theory = EvaporationTheory(base, 1e15, got)
    theta = torch.tensor([[*PLANCK, 0.0], [*PLANCK, 4e-7]], dtype=torch.float64)
    dl, reference = theory.spectra(theta), base.spectra(theta[:, :6])
    for pair in reference.dl:  # no holes: the base's own bits
        assert torch.equal(dl.dl[pair][0], reference.dl[pair][0, :61])
    low, high = DESIGN.box["tau"]
    size = added_depth(0.4, 2 * (0.0544 - low) / (high - low) - 1)
    norms = {p: x[0, :61].numpy() for p, x in reference.dl.items()}
    norms["te"] = np.sqrt(norms["tt"] * norms["ee"])
    for pair in CMB_PAIRS:
        expected = reference.dl[pair][0, :61].numpy() + made_up_change(pair, size, norms[pair], 3.044)
        assert dl.dl[pair][1, 2:].numpy() == pytest.approx(expected[2:], rel=1e-5, abs=1e-6)
    assert dl.parameters["tau_total"][1].item() == pytest.approx(0.0544 + size, abs=1e-6)


def test_bad_input(tmp_path: Path) -> None:
    base = load_emulator("lcdm_planck2018")
    with pytest.raises(ParameterError, match="1e\\+15"):
        EvaporationTheory(base, 2e15)
    theory = EvaporationTheory(base, 1e15)
    with pytest.raises(ConfigError, match="base theory"):
        EvaporationTheory(theory, 1e15)
    with pytest.raises(OutsideBoxError, match="f_pbh"):
        theory.spectra(torch.tensor([[*PLANCK, 1.0]], dtype=torch.float64))
    (tmp_path / "half.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(DataError, match="expected responses to evaporating holes"):
        read_responses(tmp_path / "half.npz")
    with (tmp_path / "array.npz").open("wb") as f:
        np.save(f, np.zeros(3))  # an array, not an archive of arrays
    for name in ("half.npz", "array.npz"):
        with pytest.raises(DataError, match="expected runs of evaporating holes"):
            read_runs([tmp_path / name])
    with pytest.raises(DataError, match="no file"):
        read_runs([])
    other = made_up_runs(InjectionDesign(n_cosmologies=2, lmax=60, max_fractions={1e15: 1e-6}))
    write_runs(tmp_path / "cut.npz", replace(other, tau=other.tau[:1]))
    with pytest.raises(DataError, match=r"shapes .*'tau': \(1,\)"):
        read_runs([tmp_path / "cut.npz"])
    write_runs(tmp_path / "a.npz", made_up_runs(DESIGN))
    write_runs(tmp_path / "b.npz", other)
    with pytest.raises(DataError, match="other settings"):
        read_runs([tmp_path / "a.npz", tmp_path / "b.npz"])
    with pytest.raises(DataError, match="four cosmologies"):
        fit_response(other, base, 1e15)


@pytest.mark.parametrize(
    ("mass", "fraction", "tau", "expected", "high", "low"),
    [
        # effects in percent: tt l 800-1199; ee l 800-1199, 2-9, 10-29
        (1e16, 1e-3, 0.07843, (-4.14, -4.13, 62.6, 74.7), 0.03, 0.08),
        # a thirtieth of the largest fraction, below nearly all runs: what matters less for a limit is known less
        (1e15, 1e-7, 0.05843, (-0.588, -0.59, 6.83, 7.05), 0.25, 0.35),
    ],
)
def test_shipped_response_gives_effect_of_class(
    mass: float, fraction: float, tau: float, expected: tuple[float, ...], high: float, low: float
) -> None:
    """CLASS 3.4.1 run on its own, with massive neutrinos, at the Planck point; at no cosmology of the runs.

    The first is a quarter of the largest fraction, where limits lie; tolerances are the response's quoted errors,
    2% of the largest effect and 10-30% of the bump of EE.
    """
    base = load_emulator("lcdm_planck2018")
    theta = torch.tensor([[*PLANCK, 0.0], [*PLANCK, fraction]], dtype=torch.float64)
    got = EvaporationTheory(base, mass).spectra(theta)

    def change(pair: str, first: int, end: int) -> float:
        dl = got.dl[pair][:, first:end]
        return 100 * (dl[1] / dl[0] - 1).mean().item()

    found = [change("tt", 800, 1200), change("ee", 800, 1200), change("ee", 2, 10), change("ee", 10, 30)]
    assert found[:2] == pytest.approx(expected[:2], rel=high)
    assert found[2:] == pytest.approx(expected[2:], rel=low)
    assert got.parameters["tau_total"][1].item() == pytest.approx(tau, rel=0.02)


@pytest.mark.slow
def test_shipped_response_against_class() -> None:
    """At a cosmology and fractions that no run of the training had: within three times the quoted error."""
    pytest.importorskip("classy", reason="CLASS is optional (extra: class)")
    design = InjectionDesign(n_cosmologies=1, draws=1, seed=7)
    runs = compute_injection(design, 0)
    responses = read_responses()
    base = load_emulator("lcdm_planck2018")
    for i, mass in enumerate(runs.mass.tolist()):
        theory = EvaporationTheory(base, mass)
        theta = torch.tensor([[*runs.theta[i], 0.0], [*runs.theta[i], runs.fraction[i]]])
        dl = theory.spectra(theta.double()).dl
        ell = np.arange(2, theory.lmax + 1)
        for k, pair in ((0, "tt"), (2, "ee")):
            x = dl[pair][:, 2:].numpy()
            missed = np.abs(x[1] / x[0] - 1 - runs.effect[i, k, 2:]) * np.sqrt((2 * ell + 1) / 2)
            quoted = responses[mass].error[pair]
            assert np.percentile(missed[39:], 99) < 3 * quoted, (mass, pair)


@pytest.mark.slow
def test_class_that_fails_is_typed() -> None:
    pytest.importorskip("classy", reason="CLASS is optional (extra: class)")
    from cmbfit.theory.hawking.pbh import evaporation_spectra

    with pytest.raises(SolverError, match="CLASS failed"):
        evaporation_spectra(1e15, 1e-7, lmax=100, cosmology={"h": 0.05, "omega_b": 0.2, "omega_cdm": 5.0})


def test_parameter_order() -> None:
    assert EvaporationTheory(load_emulator("lcdm_planck2018"), 1e14).parameters == (*LCDM, "f_pbh")
