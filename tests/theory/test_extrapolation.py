"""Continuation beyond lmax by a template: what is cut off comes back, and the record says where."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmbfit.errors import SpectrumError
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.extrapolation import (
    ExtrapolatedEmulator,
    ExtrapolatedTheory,
    extrapolate_spectra,
    extrapolate_to,
    extrapolation_template,
)
from cmbfit.theory.spectra import Spectra

POINT = torch.tensor([[0.0221, 0.124, 1.0395, 0.062, 3.06, 0.955]], dtype=torch.float64)


def test_what_is_cut_off_comes_back(emulator: LinearEmulator) -> None:
    """Cut at 2200, continued to 2590, 3 sigma from the template's model: the shape moves by a few percent.

    The tail's slope varies with ns and omch2: 2% over 400 multipoles, and 2% more from peaks that shift.
    """
    full = emulator.spectra(POINT)
    short = Spectra({p: x[:, :2201] for p, x in full.dl.items()}, full.parameters)
    got = extrapolate_spectra(short, 2590)
    for pair in ("tt", "ee"):
        assert torch.equal(got.dl[pair][:, :2201], short.dl[pair])
        ratio = (got.dl[pair] / full.dl[pair][:, :2591])[0, 2201:]
        assert (ratio - 1).abs().max() < 0.06, pair
    size = full.dl["te"][0, 2201:2591].abs().max()
    assert (got.dl["te"] - full.dl["te"][:, :2591])[0, 2201:].abs().max() < 0.15 * size


def test_levels_are_kept_exactly() -> None:
    lmin, template = extrapolation_template()
    level = torch.tensor([[0.9], [1.2]], dtype=torch.float64)
    head = torch.ones(2, lmin, dtype=torch.float64)
    full = {p: torch.cat([head, level * x], dim=1) for p, x in template.items()}
    got = extrapolate_spectra(Spectra({p: x[:, :5001] for p, x in full.items()}), 6325)
    for pair, x in full.items():
        torch.testing.assert_close(got.dl[pair], x[:, :6326], rtol=1e-12, atol=0)


def test_the_settings_say_where_the_theory_ends(emulator: LinearEmulator) -> None:
    theory = ExtrapolatedTheory(emulator, emulator.lmax + 100)
    assert theory.spectra(POINT).lmax == theory.lmax == emulator.lmax + 100
    assert theory.settings["extended"]["computed_lmax"] == theory.computed_lmax == emulator.lmax
    assert theory.box == emulator.box
    assert "extended" not in ExtrapolatedTheory(emulator, 2000).settings
    assert np.isfinite(theory.spectra(POINT).dl["te"].numpy()).all()


def test_spectra_that_the_template_cannot_continue_are_refused() -> None:
    with pytest.raises(SpectrumError, match="the template covers"):
        extrapolate_spectra(Spectra({"tt": torch.ones(1, 500, dtype=torch.float64)}), 600)
    with pytest.raises(SpectrumError, match="cannot be continued to 9000"):
        extrapolate_spectra(Spectra({"tt": torch.ones(1, 5001, dtype=torch.float64)}), 9000)
    with pytest.raises(SpectrumError, match="levels of tt and ee"):
        extrapolate_spectra(Spectra({"te": torch.ones(1, 5001, dtype=torch.float64)}), 6000)


def test_an_extended_emulator_folds_what_its_spectra_are(
    emulator: LinearEmulator, rng: np.random.Generator
) -> None:
    """Random windows that act on both sides of the emulator's end, TE's tail on the levels of TT and EE."""
    longer = ExtrapolatedEmulator(emulator, emulator.lmax + 300)
    dl = longer.spectra(POINT).dl
    h = longer.features(POINT)
    for pairs in (("tt",), ("te",), ("ee",), ("tt", "te", "ee")):
        windows = {p: torch.from_numpy(rng.uniform(size=(4, longer.lmax + 1))) for p in pairs}
        for w in windows.values():
            w[:, :40] = 0
            w[:2, :2500] = 0  # rows that are mostly tail
        offset, matrix = longer.fold(windows)
        folded = (
            longer.amplitude(POINT) * (offset[:, None] + matrix @ longer.component_coefficients @ h)[:, 0]
        )
        direct = sum(w @ dl[p][0] for p, w in windows.items())
        torch.testing.assert_close(folded, direct, rtol=1e-11, atol=0)


def test_only_a_theory_that_ends_high_is_continued_unasked(emulator: LinearEmulator) -> None:
    assert extrapolate_to(emulator, emulator.lmax) is emulator
    assert extrapolate_to(emulator, 6325) is emulator  # it ends at 2600: whoever needs l = 6325 refuses it
