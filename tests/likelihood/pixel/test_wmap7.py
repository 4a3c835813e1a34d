"""The real WMAP7 maps: goodness of fit, power against Planck's, robustness, and the data sets."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
import torch

from cmbfit.errors import DataError, LikelihoodError, MapError
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.base import DataSetInfo, refuse_double_counting
from cmbfit.likelihood.pixel.analysis import amplitude_in, analyse, band_amplitudes, lowl_checks
from cmbfit.likelihood.pixel.bandpowers import LowlBandpowers
from cmbfit.likelihood.pixel.datasets import wmap7_likelihood
from cmbfit.likelihood.pixel.wmap7 import LowlSettings, fiducial_spectra, lowl_sky, read_wmap7
from cmbfit.sky import Mask, StokesMap
from cmbfit.theory.spectra import Spectra

INFO = DataSetInfo("lowl", "low-l TT", {"wmap": {"tt": (2, 15)}}, 0, "")
COARSE = LowlSettings(nside=8, lmax=15)  # a sixteenth of the pixels: seconds instead of a minute


@pytest.fixture(scope="module")
def coarse() -> dict:
    maps, fiducial = read_wmap7(), fiducial_spectra()
    sky = lowl_sky(*maps, COARSE)
    like = sky.likelihood(INFO, fiducial)
    return {"maps": maps, "fiducial": fiducial, "like": like, "record": analyse(sky, like, fiducial)}


def test_lcdm_fits_and_power_is_plancks(coarse: dict, likelihoods: dict) -> None:
    record = coarse["record"]
    assert 0.01 < record["pixels"]["pte"] < 0.99
    assert 0.01 < record["estimates"]["pte"] < 0.99
    dl = coarse["fiducial"].dl["tt"][0].numpy()
    (low, high, other, sigma), _ = band_amplitudes(likelihoods["bins"], dl)
    assert (low, high) == (2, 15)
    ours, error = amplitude_in(record, 2, 15)
    # one sky: differences come from 10% more of it in Planck's mask, a fraction of the error
    assert abs(ours - other) < 0.7 * error
    assert error < 2 * sigma
    checks = lowl_checks(record, [(low, high, other, sigma)], "Planck")
    assert all(row["pass"] for row in checks)
    assert not lowl_checks(record, [(low, high, other + 0.3, sigma)], "Planck")[-1]["pass"]


def test_v_minus_w_and_dipole_are_taken_out_exactly(coarse: dict) -> None:
    v, w, mask = coarse["maps"]
    x, _, z = healpy.pix2vec(32, np.arange(12288))
    dirty = StokesMap(v.i + 40 * (v.i - w.i) + 1e5 + 1e4 * x - 2e4 * z, v.q, v.u, coord="G")
    # the template of this sky is V - W of the clean maps: shift W with V
    shifted = StokesMap(dirty.i - (v.i - w.i), w.q, w.u, coord="G")
    like = lowl_sky(dirty, shifted, mask, COARSE).likelihood(INFO, coarse["fiducial"])
    models = Spectra({"tt": coarse["fiducial"].dl["tt"][:, :16] * torch.tensor([[0.8], [1.2]])})
    got, want = (x.log_prob(models, {}) for x in (like, coarse["like"]))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_bad_maps(coarse: dict) -> None:
    v, w, _ = coarse["maps"]
    with pytest.raises(MapError, match="nside"):
        lowl_sky(v, w, Mask(np.ones(768), coord="G"), COARSE)
    with pytest.raises(LikelihoodError, match="expected pixels or bandpowers"):
        wmap7_likelihood(INFO, "neither")


def test_unpinned_archive_says_how_to_pin_it() -> None:
    with pytest.raises(DataError, match="cmbfit data pin wmap9/likelihood/wmap_likelihood_full_v5"):
        load_likelihood("wmap9_lowl_pol")


@pytest.mark.slow
def test_data_sets(likelihoods: dict) -> None:
    exact, fast = (load_likelihood(f"wmap7_lowl_tt_{form}") for form in ("pixel", "bandpowers"))
    fiducial = fiducial_spectra()
    with pytest.raises(LikelihoodError, match="multipoles 2-29"):
        refuse_double_counting([exact.info, likelihoods["bins"].info])
    assert isinstance(fast, LowlBandpowers)
    # amplitude and tilt of the power over a range wider than any LCDM posterior leaves
    ell = torch.arange(30, dtype=torch.float64).clamp(min=1)
    shapes = [a * (ell / 12) ** n for a in (0.95, 0.85, 1.1) for n in (0.0, -0.1, 0.1)]
    models = Spectra({"tt": torch.stack(shapes) * fiducial.dl["tt"][0, :30]})
    assert fast.against(models).abs().max() < 0.2
    ln = exact.log_prob(models, {})
    assert torch.isfinite(ln).all()
    # the sky has 9 +- 5% less power at l = 2-29 than the fiducial
    best = models.dl["tt"][int(ln.argmax())] / fiducial.dl["tt"][0, :30].clamp(min=1e-3)
    assert 0.8 < float(best[12]) < 1.0
