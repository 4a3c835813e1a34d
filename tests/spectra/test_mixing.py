"""The E-B mixing terms of the covariance, measured where they are large: one map in a small cap."""

from __future__ import annotations

import healpy
import numpy as np
import pytest

from cmbfit.sky import Mask, apodise
from cmbfit.spectra.coupling import Coupling, coupling, master_matrix
from cmbfit.spectra.transforms import alm2cl, alm2map, map2alm, mask_spectrum

NSIDE, LMAX, LOW, HIGH = 32, 64, 8, 50
N_SKIES = 2500


def cap() -> Mask:
    """A radius of 45 degrees, C1 over 12 degrees."""
    z = healpy.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[2]
    return apodise(Mask((z > np.cos(np.radians(45))).astype(float), coord="G"), 12, "C1")


def pseudo(mask: Mask, bb_over_ee: float, n: int) -> np.ndarray:
    """Pseudo-spectra EE, BB, EB of skies with C_EE = 1 / (l (l + 1)), shape (n, 3, LMAX + 1)."""
    np.random.seed(17)  # noqa: NPY002
    ell = np.arange(LMAX + 1)
    ee = np.where(ell >= 2, 1 / np.maximum(ell * (ell + 1), 1), 0)
    out = np.empty((n, 3, LMAX + 1))
    for k in range(n):
        alm = np.array([healpy.synalm(ee * x, lmax=LMAX) for x in (1, bb_over_ee)])
        e, b = map2alm(alm2map(alm, NSIDE, LMAX, 2) * mask.weights, LMAX, 2)
        out[k] = alm2cl(e, e, LMAX), alm2cl(b, b, LMAX), alm2cl(e, b, LMAX)
    return out


def coefficient(measured: np.ndarray, template: np.ndarray, error: np.ndarray) -> float:
    """Weighted least-squares amplitude of `template` in `measured` over LOW <= l, l' <= HIGH."""
    part = slice(LOW, HIGH + 1)
    x, y, w = template[part, part], measured[part, part], error[part, part] ** -2
    return float((w * x * y).sum() / (w * x * x).sum())


def fit(bb_over_ee: float, n: int = N_SKIES) -> tuple[float, float]:
    """Return the coefficients of S S' X-- in Cov(EE, BB) and Cov(EB, EB)."""
    mask = cap()
    x = pseudo(mask, bb_over_ee, n)
    x = x - x.mean(axis=0)
    c2: Coupling = coupling(mask_spectrum(mask, 2 * LMAX, power=2), LMAX)
    c = coupling(mask_spectrum(mask, 2 * LMAX), LMAX)
    ell = np.arange(LMAX + 1)
    ee = np.where(ell >= 2, 1 / np.maximum(ell * (ell + 1), 1), 0)
    pp, mm = master_matrix(c.xpp), master_matrix(c.xmm)
    w2 = mask.moment(2)
    e, b = (pp @ ee + mm @ (bb_over_ee * ee)) / w2, (mm @ ee + pp @ (bb_over_ee * ee)) / w2
    s = e + b
    sd = x.std(axis=0)
    eebb = x[:, 0].T @ x[:, 1] / n
    ebeb = x[:, 2].T @ x[:, 2] / n - 0.5 * (np.outer(e, b) + np.outer(b, e)) * c2.xpp
    mixing = np.outer(s, s) * c2.xmm
    return (
        coefficient(eebb, mixing, np.outer(sd[0], sd[1])),
        coefficient(ebeb, mixing, np.outer(sd[2], sd[2])),
    )


@pytest.mark.parametrize("bb_over_ee", [0.1, 1.0])
def test_mixing_coefficients(bb_over_ee) -> None:
    """+1/2 for EE x BB and -1/4 for EB x EB, not the -2 and +1 found in published codes.

    6000 skies give 0.57, -0.57 (B/E = 0.1) and 0.51, -0.27 (B/E = 1). For B << E the second is more
    negative because the coupled C_BB in the X++ term holds the leaked E power already: the
    covariance of EB is then too large rather than too small.
    """
    eebb, ebeb = fit(bb_over_ee)
    assert eebb == pytest.approx(0.5, abs=0.17)
    assert ebeb < 0
    if bb_over_ee == 1:
        assert ebeb == pytest.approx(-0.25, abs=0.12)
