"""Theory and beams need to go as far as the bins that are wanted, and what lies beyond hardly matters to these."""

from __future__ import annotations

import healpy
import numpy as np
import pytest

from cmbfit.errors import SpectrumError
from cmbfit.sky import Beam, Mask, apodise
from cmbfit.sky.beam_files import continued
from cmbfit.spectra import Bins, Transfer
from cmbfit.spectra.master import prepare
from cmbfit.spectra.reach import continued_theory, window_reach
from tests.spectra.simulation import LMAX, NSIDE, input_dl


def test_bandpowers_do_not_know_how_the_beam_goes_on() -> None:
    """Operators of a beam cut 7 multipoles above the last bin and continued, beside those of the whole beam."""
    z = healpy.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[2]
    mask = apodise(Mask((np.abs(z) > 0.2).astype(float), coord="G"), 10, "C2")
    bins = Bins.linear(2, 55, 9)
    # not a Gaussian, so that the continuation is not exact
    ell = np.arange(LMAX + 1)
    whole = Beam.gaussian(LMAX, 120).t * (1 + 0.05 * np.sin(ell / 8))
    cut = continued(whole[:63], LMAX)
    assert np.abs(cut / whole - 1).max() > 0.1
    one, two = (prepare(mask, bins, t, t, LMAX) for t in (Transfer(b, b) for b in (whole, cut)))
    dl = input_dl()
    # the sky's pseudo-spectra come from the whole beam; 3e-4 of the bandpower is far below cosmic variance (20 %)
    for name, expected in one.bin_theory(dl).items():
        got = two.decouple(one.couple({k: _cl(v) for k, v in dl.items()}))[name]
        np.testing.assert_allclose(got, expected, atol=3e-4 * max(np.abs(expected).max(), 1e-3), err_msg=name)


def _cl(dl: np.ndarray) -> np.ndarray:
    ell = np.arange(dl.size)
    return np.where(ell > 1, dl * 2 * np.pi / np.maximum(ell * (ell + 1.0), 1), 0)


def test_theory_is_continued_and_says_so() -> None:
    ell = np.arange(2001)
    dl = {"tt": 5000 * np.exp(-ell / 500), "te": 10 * np.cos(ell / 60)}
    short = {k: v[:1501] for k, v in dl.items()}
    longer, notes = continued_theory(short, 1400, 2000)
    np.testing.assert_allclose(longer["tt"], dl["tt"], rtol=1e-9)  # an exponential goes on as one
    assert (longer["te"][1501:] == 0).all()
    assert "ends at l = 1500" in notes[0]
    assert continued_theory(dl, 1400, 2000) == (dl, ())
    with pytest.raises(SpectrumError, match="up to l = 1500, l = 1600"):
        continued_theory(short, 1600, 2000)


def test_reach_of_a_window() -> None:
    window = np.zeros((2, 50))
    window[0, 10], window[1, 20], window[0, 30] = 1, 1, 1e-4
    assert window_reach(window) == 30
    assert window_reach(window[:, :30]) == 20
    assert window_reach(0 * window) == 0
