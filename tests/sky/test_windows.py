from __future__ import annotations

import healpy
import numpy as np
import pytest

from cmbfit.data import fetch
from cmbfit.errors import MapError
from cmbfit.sky import gaussian_beam, read_pixel_window

WINDOW = "pixel_windows/pixel_window_n0032.fits"


def test_beam_against_healpy() -> None:
    np.testing.assert_allclose(gaussian_beam(200, 60), healpy.gauss_beam(np.radians(1), 200), rtol=1e-13)
    with pytest.raises(MapError, match="FWHM"):
        gaussian_beam(10, -1)


def test_pixel_window() -> None:
    t, p = read_pixel_window(fetch(WINDOW), 95)
    assert t.shape == p.shape == (96,)
    assert t[0] == pytest.approx(1, abs=1e-12)
    assert (p[:2] == 0).all()
    np.testing.assert_allclose(p[2:], t[2:], rtol=4e-4)
    # a pixel of area A averages like a disc of that area, nearly: they are not round
    area = 4 * np.pi / 12288
    ell = np.arange(20)
    np.testing.assert_allclose(t[:20], 1 - ell * (ell + 1) * area / (8 * np.pi), atol=2.5e-3)


def test_pixel_window_refuses(tmp_path) -> None:
    with pytest.raises(MapError, match="l = 500 is needed"):
        read_pixel_window(fetch(WINDOW), 500)
    healpy.write_map(tmp_path / "m.fits", np.ones(12), dtype=np.float64)
    with pytest.raises(MapError, match="expected the columns"):
        read_pixel_window(tmp_path / "m.fits", 5)
