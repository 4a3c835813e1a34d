"""Energy injection by evaporating holes, in CLASS."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from cmbfit.errors import MissingCodeError, ParameterError
from cmbfit.theory.hawking.pbh import PbhResult, evaporation_spectra


@pytest.fixture(scope="module")
def base() -> PbhResult:
    pytest.importorskip("classy", reason="CLASS is optional (extra: class)")
    return evaporation_spectra(1e15, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mass", "fraction", "tau", "ionised", "effects"),
    # by an independent script on classy 3.4.1; changes in percent: tt 2-29, 800-1199, ee 2-9, 10-29, 800-1199
    [
        (1e15, 1e-7, 0.05843, 1.782e-3, (-0.319, -0.588, 6.83, 7.05, -0.59)),
        (1e16, 1e-3, 0.07843, 1.099e-2, (-2.19, -4.14, 62.6, 74.7, -4.13)),
        (1e17, 1.0, 0.06794, 6.07e-3, (-1.20, -2.25, 29.6, 33.4, -2.24)),
        (1e14, 1e-9, 0.09206, 1.713e-2, (-2.60, -6.52, 71.5, 224.0, -6.50)),
        (3e13, 1e-11, 0.05440, 2.218e-4, (-0.115, -0.227, 0.02, 0.30, -0.16)),
    ],
)
def test_evaporation_ionises_the_gas(
    base: PbhResult,
    mass: float,
    fraction: float,
    tau: float,
    ionised: float,
    effects: tuple[float, ...],
) -> None:
    holes = evaporation_spectra(mass, fraction, history="class")
    assert (base.tau, holes.tau) == (pytest.approx(0.05440, abs=1e-4), pytest.approx(tau, abs=1e-4))
    fractions = [float(np.interp(30.0, r.z, r.ionised)) for r in (base, holes)]
    assert fractions == pytest.approx([2.216e-4, ionised], rel=0.01)

    def change(pair: str, low: int, high: int) -> float:
        return 100 * float(np.mean(holes.dl[pair][low:high] / base.dl[pair][low:high] - 1))

    got = [
        *(change("tt", *r) for r in ((2, 30), (800, 1200))),
        *(change("ee", *r) for r in ((2, 10), (10, 30), (800, 1200))),
    ]
    assert got == pytest.approx(effects, rel=0.01, abs=0.0051)  # printed to 0.01


@pytest.mark.slow
def test_the_whole_energy_is_classs_own_where_holes_live_and_more_where_they_die(base: PbhResult) -> None:
    """CLASS's loop is right for 1e15 and 1e16 g; of 1e14 g it gives 0.55/2 of M c^2, where 0.658 are."""
    added = {
        (mass, history): evaporation_spectra(mass, f, history=history).tau - base.tau  # type: ignore[arg-type]
        for mass, f in ((1e15, 1e-7), (1e16, 1e-3), (1e14, 5.1e-10))
        for history in ("whole", "class")
    }
    for mass in (1e15, 1e16):
        # CLASS's steps in ln z are 1% of the age each
        assert added[mass, "whole"] == pytest.approx(added[mass, "class"], rel=0.01)
    # 2.4 times the energy, most of it in the last eighth of the life, part of it undone by recombination
    assert 1.2 < added[1e14, "whole"] / added[1e14, "class"] < 2.4


@pytest.mark.slow
def test_only_fraction_times_efficiency_counts() -> None:
    pytest.importorskip("classy", reason="CLASS is optional (extra: class)")
    holes = evaporation_spectra(1e15, 1e-7, lmax=100)
    same = evaporation_spectra(1e15, 1e-6, efficiency=0.1, lmax=100)
    assert same.tau == pytest.approx(holes.tau, abs=1e-6)


def test_without_class_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "classy", None)
    with pytest.raises(MissingCodeError, match="pip install"):
        evaporation_spectra(1e15, 1e-7)


def test_out_of_range() -> None:
    with pytest.raises(ParameterError, match="PBH mass"):
        evaporation_spectra(1e20, 1e-3)
    with pytest.raises(ParameterError, match="fraction"):
        evaporation_spectra(1e15, 2.0)
