from __future__ import annotations

import ducc0
import healpy
import numpy as np
import pytest

from cmbfit.errors import SpectrumError
from cmbfit.sky import Mask
from cmbfit.spectra.coupling import Coupling, coupling
from cmbfit.spectra.transforms import mask_spectrum


def master(c: Coupling, name: str) -> np.ndarray:
    """Return M_{l1 l2} = (2 l2 + 1) X_{l1 l2}."""
    x = c.matrix(name)
    return x * (2 * np.arange(x.shape[1]) + 1)


def wigner(l1: int, l2: int, m: int) -> dict[int, float]:
    """(l1 l2 L; m -m 0) for all L; zero where |m| exceeds l1 or l2."""
    if min(l1, l2) < abs(m):
        return {}
    start, values = ducc0.misc.wigner3j_int(l1, l2, m, -m)
    return dict(enumerate(values, start))


def brute_force(w: np.ndarray, lmax: int) -> np.ndarray:
    """The sums as Hivon et al. and Kogut et al. write them, one 3j symbol at a time."""
    out = np.zeros((4, lmax + 1, lmax + 1))
    for l1 in range(lmax + 1):
        for l2 in range(lmax + 1):
            j0, j2 = wigner(l1, l2, 0), wigner(l1, l2, 2)
            for big in range(abs(l1 - l2), l1 + l2 + 1):
                f = (2 * big + 1) / (4 * np.pi) * w[big]
                a, b = j0.get(big, 0.0), j2.get(big, 0.0)
                out[0, l1, l2] += f * a * a
                out[1, l1, l2] += f * a * b
                out[2 if (l1 + l2 + big) % 2 == 0 else 3, l1, l2] += f * b * b
    return out


def test_against_brute_force() -> None:
    lmax = 12
    w = np.random.default_rng(0).uniform(0.1, 1, 2 * lmax + 1)
    c = coupling(w, lmax)
    np.testing.assert_allclose(
        [c.matrix(x) for x in ("x00", "x02", "xpp", "xmm")], brute_force(w, lmax), atol=1e-15
    )


def test_full_sky_is_diagonal() -> None:
    lmax = 30
    w = np.zeros(2 * lmax + 1)
    w[0] = 4 * np.pi
    c = coupling(w, lmax)
    np.testing.assert_allclose(master(c, "x00"), np.eye(lmax + 1), atol=1e-13)
    spin = np.eye(lmax + 1)
    spin[:2] = 0
    np.testing.assert_allclose(master(c, "xpp"), spin, atol=1e-13)
    np.testing.assert_allclose(master(c, "x02"), spin, atol=1e-13)
    assert np.abs(c.matrix("xmm")).max() < 1e-15


def test_old_ducc_spelling_agrees(monkeypatch) -> None:
    w = np.random.default_rng(0).uniform(0.1, 1, 81)
    new = coupling(w, 40)
    monkeypatch.delattr(ducc0.misc.experimental, "coupling_matrix_rect_new")
    old = coupling(w, 40)
    for name in ("x00", "x02", "xpp", "xmm"):
        np.testing.assert_allclose(new.matrix(name), old.matrix(name), atol=1e-15)


def test_rows_conserve_power() -> None:
    """A white sky keeps its power: sum_l' M_ll' = <w^2>, exact for a mask of few multipoles."""
    z = healpy.pix2vec(32, np.arange(12288))[2]
    mask = Mask(((1 + z) / 2) ** 2, coord="G")
    c = coupling(mask_spectrum(mask, 80), 30, 50)
    np.testing.assert_allclose(master(c, "x00").sum(axis=1), mask.moment(2), rtol=1e-4)
    spin = (master(c, "xpp") + master(c, "xmm")).sum(axis=1)
    np.testing.assert_allclose(spin[2:], mask.moment(2), rtol=1e-4)


def test_short_mask_spectrum_is_refused() -> None:
    with pytest.raises(SpectrumError, match="l1max \\+ l2max = 40"):
        coupling(np.ones(30), 20)
