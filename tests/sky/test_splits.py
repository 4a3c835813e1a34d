"""Reading survey maps in the released formats, and joining detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmbfit.errors import MapError
from cmbfit.sky import StokesMap
from cmbfit.sky.splits import coadd, read_detector
from cmbfit.sky.standins import Content, scan_hits, write_hfi_map, write_mask_file, write_wmap_map

NSIDE = 16
NPIX = 12 * NSIDE**2


@pytest.fixture
def content(rng: np.random.Generator) -> Content:
    return Content(100 * rng.standard_normal((3, NPIX)), scan_hits(NSIDE, 100.0), 50.0, 80.0)


def test_wmap_layout(tmp_path: Path, content: Content) -> None:
    path = tmp_path / "wmap_iqumap_r9_yr1_V1_v5.fits"
    write_wmap_map(path, content)
    stokes, weight = read_detector(path, name="V1", sigma0_uk=50.0, coord="G", frequency=60.8)
    # single precision of a number in mK
    np.testing.assert_allclose(stokes.iqu, content.iqu, atol=1e-4)
    np.testing.assert_allclose(weight, content.hits / 2500.0, rtol=1e-6)
    with pytest.raises(MapError, match="COORDSYS"):
        read_detector(path)  # WMAP's headers do not say it
    with pytest.raises(MapError, match="ORDERING"):
        read_detector(path, coord="G", ordering="RING")


def test_hfi_layout_and_its_bad_pixels(tmp_path: Path, content: Content, rng: np.random.Generator) -> None:
    path = tmp_path / "HFI_SkyMap_143_2048_R3.01_halfmission-1.fits"
    write_hfi_map(path, content, rng, n_bad=7)
    efficiency = 1.001001
    stokes, weight = read_detector(path, coord="G", calibration={"efficiency": efficiency})
    bad = weight == 0
    assert bad.sum() == 14  # missing in I, Q, U, and of unbelievable variance
    np.testing.assert_array_equal(stokes.missing, bad)
    np.testing.assert_allclose(stokes.i[~bad], content.iqu[0][~bad], rtol=1e-6)
    np.testing.assert_allclose(stokes.q[~bad], content.iqu[1][~bad] / efficiency, rtol=1e-6)
    np.testing.assert_allclose(1 / weight[~bad], 2500.0 / content.hits[~bad], rtol=1e-6)
    record = stokes.history[-1]
    assert (record["step"], record["missing"], record["dropped"]) == ("drop bad pixels", 7, 14)
    with pytest.raises(MapError, match="COSMO"):
        read_detector(path, polcconv="IAU")  # the header contradicts


def test_a_file_without_hits_is_refused(tmp_path: Path, content: Content) -> None:
    from cmbfit.sky import write_product

    write_product(tmp_path / "x.fits", StokesMap(*content.iqu, coord="G"))
    with pytest.raises(MapError, match="hits"):
        read_detector(tmp_path / "x.fits")


def test_coadd_is_the_inverse_variance_mean(rng: np.random.Generator) -> None:
    """Of maps of pure noise the coadd must have variance 1 / sum w, pixel by pixel (here: in the mean)."""
    weights = [rng.uniform(0.5, 2.0, NPIX) for _ in range(3)]
    weights[0][5] = weights[1][5] = weights[2][5] = 0.0
    weights[1][7] = 0.0
    maps = []
    for w in weights:
        noise = rng.standard_normal((3, NPIX)) / np.sqrt(np.where(w > 0, w, np.inf))
        noise[:, w == 0] = np.nan
        maps.append(StokesMap(*noise, coord="G", name="d"))
    joined, total = coadd(maps, weights, "V.1")
    assert np.isnan(joined.i[5])
    assert total[5] == 0
    assert np.isfinite(joined.q[7])
    np.testing.assert_allclose(total, np.sum(weights, axis=0))
    scaled = np.delete(joined.iqu * np.sqrt(total), 5, axis=1)
    assert abs(np.mean(scaled**2) - 1) < 5 * np.sqrt(2 / scaled.size)
    with pytest.raises(MapError, match="nside"):
        coadd([maps[0], StokesMap(*np.zeros((3, 12)), coord="G")], [weights[0], np.ones(12)])


def test_mask_layout(tmp_path: Path) -> None:
    from cmbfit.sky import Mask, read_mask

    weights = (np.arange(NPIX) > 100).astype(float)
    write_mask_file(tmp_path / "m.fits", Mask(weights, "G"), "TEMPERATURE", coordsys=False)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.fits", coord="G").weights, weights)
