"""Lensing and Wigner functions against CAMB's own lensing, closed forms and other libraries."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from camb import correlations
from scipy.special import eval_jacobi, eval_legendre

from cmbfit.errors import SpectrumError
from cmbfit.theory.camb_code import CambSettings, CambTheory
from cmbfit.theory.lensing import Lensing, lens
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.wigner import wigner_d

CAMB_ORDER = ("tt", "ee", "bb", "te")
POINT = torch.tensor([[0.02237, 0.12, 1.0409, 0.0544, 3.044, 0.9649]], dtype=torch.float64)


def _camb_unlensed(lmax: int) -> Spectra:
    theory = CambTheory(CambSettings(lmax=lmax, lens_potential_accuracy=1), lensed=False)
    return theory.spectra(POINT)


@pytest.fixture(scope="module")
def unlensed() -> Spectra:
    return _camb_unlensed(1300)


def _camb_lensed(unlensed: Spectra, lmax: int) -> dict[str, np.ndarray]:
    """CAMB's Python lensing of the same input, integrated over all angles."""
    cls = np.stack([unlensed.dl[p][0].numpy() for p in CAMB_ORDER], axis=1)
    table = correlations.lensed_cls(cls, unlensed.dl["pp"][0].numpy(), unlensed.lmax, theta_max=None)[
        : lmax + 1
    ]
    return dict(zip(CAMB_ORDER, table.T, strict=True))


def _relative(got: dict[str, torch.Tensor], expected: dict[str, np.ndarray], pair: str) -> np.ndarray:
    scale = expected[pair] if pair != "te" else np.sqrt(expected["tt"] * expected["ee"])
    return np.abs(got[pair][0].numpy() - expected[pair])[2:] / scale[2:]


def test_wigner_functions_are_legendre_and_jacobi_polynomials() -> None:
    beta = np.array([0.0, 1e-3, 0.3, 1.4, 3.0])
    x = np.cos(beta)[:, None]
    ell = np.arange(301)
    np.testing.assert_allclose(wigner_d(300, 0, 0, beta), eval_legendre(ell, x), atol=1e-12)
    for m, n in ((1, 1), (2, 0), (2, 2), (3, 1), (4, 0), (4, 2)):
        # Varshalovich 4.3.4 for m >= |n|: the integral of d^2 over cos(beta) is 2/(2l+1)
        norm = (
            np.array([_jacobi_norm(int(l), m, n) if l >= m else 0.0 for l in ell])
            * np.sin(beta[:, None] / 2) ** (m - n)
            * np.cos(beta[:, None] / 2) ** (m + n)
        )
        expected = norm * eval_jacobi(np.maximum(ell - m, 0), m - n, m + n, x)
        np.testing.assert_allclose(np.abs(wigner_d(300, m, n, beta)), np.abs(expected), atol=1e-10)
        # both signs of n are one function seen from the other pole
        mirrored = wigner_d(300, m, -n, np.pi - beta) * (-1.0) ** (ell + m)
        np.testing.assert_allclose(np.abs(mirrored), np.abs(expected), atol=1e-10)


def test_wigner_functions_near_the_pole_at_high_l() -> None:
    """Fifty digits of mpmath at l beta of order one, where cos(beta) in double precision costs 1e-11."""
    l = 1500
    with mpmath.workdps(50):
        for beta in (8e-4, 2e-3, 0.3):
            x, y = mpmath.cos(mpmath.mpf(beta)), mpmath.cos(mpmath.mpf(beta) / 2)
            for n, wanted in ((0, mpmath.legendre(l, x)), (2, y**4 * mpmath.jacobi(l - 2, 0, 4, x))):
                found = wigner_d(l, n, n, np.array([beta]))[0, l]
                assert found == pytest.approx(float(wanted), abs=3e-14)


def _jacobi_norm(l: int, m: int, n: int) -> float:
    ratio = 1.0
    for i in range(1, m - abs(n) + 1):
        ratio *= (l + abs(n) + i) / (l - m + i)
    return ratio**0.5


def test_lensing_is_camb_s(unlensed: Spectra) -> None:
    """CAMB's `lensed_cls` on the same input: the same method, coded by its authors.

    Ours stop at pi/32: 1e-4 of TT and EE where the spectra are cut at l = 1300 (3e-5 from 2000 on), and more
    of the small BB (4e-3 at l = 10, where the largest angles count).
    """
    got, expected = lens(unlensed, 1000).dl, _camb_lensed(unlensed, 1000)
    for pair in ("tt", "ee", "te"):
        assert _relative(got, expected, pair).max() < 2e-4, pair
    assert _relative(got, expected, "bb").max() < 6e-3


def test_few_multipoles_stand_for_all(unlensed: Spectra, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums over nodes are those over every multipole: 1e-5 was asked for, 1e-8 leaves no question."""
    dl = {p: torch.cat([x, x * (1 + 0.5 * torch.cos(torch.arange(1301.0)))]) for p, x in unlensed.dl.items()}
    dl["pp"] = torch.cat([unlensed.dl["pp"], 3 * unlensed.dl["pp"]])
    geometry = Lensing(1300, 1000)
    few = geometry.lensed(dl)
    monkeypatch.setattr("cmbfit.theory.lensing.SIGMA2_MAX", 0.0)
    every = geometry.lensed(dl)
    for pair in ("tt", "ee", "bb"):
        assert ((few[pair] - every[pair]).abs() / every[pair].abs())[:, 2:].max() < 1e-8, pair
    assert (few["te"] - every["te"]).abs().max() < 1e-8 * every["te"].abs().max()


def test_a_potential_beyond_the_nodes_is_lensed_as_by_camb(unlensed: Spectra) -> None:
    # ten times LCDM's power: the variance of the deflections is beyond what the nodes are made for, and every multipole
    # counts; second order in C_gl,2 then errs by more than at LCDM, in both codes alike
    strong = Spectra({**unlensed.dl, "pp": 10 * unlensed.dl["pp"]})
    got, expected = lens(strong, 1000).dl, _camb_lensed(strong, 1000)
    assert _relative(got, expected, "tt").max() < 2e-3


def test_without_a_potential_nothing_is_lensed(unlensed: Spectra) -> None:
    dl = {**unlensed.dl, "pp": torch.zeros_like(unlensed.dl["pp"])}
    got = lens(Spectra(dl), 1000)
    for pair in CAMB_ORDER:
        torch.testing.assert_close(got.dl[pair], dl[pair][:, :1001], rtol=1e-9, atol=1e-9)


def test_lensing_conserves_the_variance_of_the_temperature() -> None:
    # lensing moves photons about: sum (2l+1) C_l stays, if spectra vanish well before lmax
    lmax = 2000
    ell = torch.arange(lmax + 1, dtype=torch.float64)
    tt = (ell * (ell + 1) * torch.exp(-(((ell - 300) / 150) ** 2)))[None]
    pp = (1e-7 * torch.exp(-ell / 200) * (ell >= 2))[None]
    zero = torch.zeros_like(tt)
    got = lens(Spectra({"tt": tt, "te": zero, "ee": zero, "pp": pp}), lmax)
    weight = torch.where(ell >= 2, (2 * ell + 1) / (ell * (ell + 1)).clamp(min=1), 0.0)
    before, after = ((weight * x)[0].sum().item() for x in (tt, got.dl["tt"]))
    assert (got.dl["tt"] - tt).abs().max() > 1e-3 * tt.max()
    # exact but for the cut at pi/32
    assert after == pytest.approx(before, rel=1e-5)


def test_batches_and_gradients(unlensed: Spectra) -> None:
    small = {p: x[:, :301] for p, x in unlensed.dl.items()}
    geometry = Lensing(300, 200)
    batch = {p: torch.cat([x, 1.1 * x, 0.9 * x]) for p, x in small.items()}
    together = geometry.lensed(batch)
    alone = geometry.lensed({p: x[1:2] for p, x in batch.items()})
    for pair in CAMB_ORDER:
        torch.testing.assert_close(together[pair][1:2], alone[pair], rtol=1e-12, atol=1e-14)
    # derivative with respect to the potential against a central difference
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    geometry.lensed({**small, "pp": small["pp"] * scale})["tt"][0, 150].backward()
    ends = [geometry.lensed({**small, "pp": small["pp"] * x})["tt"][0, 150].item() for x in (1.01, 0.99)]
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx((ends[0] - ends[1]) / 0.02, rel=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    ones = torch.ones(1, 101, dtype=torch.float64)
    with pytest.raises(SpectrumError, match="lmax: expected"):
        Lensing(100, 200)
    with pytest.raises(SpectrumError, match="needed but not given: pp"):
        Lensing(100, 50).lensed({"tt": ones, "te": ones, "ee": ones})
    with pytest.raises(SpectrumError, match="cut them first"):
        Lensing(80, 50).lensed({"tt": ones, "te": ones, "ee": ones, "pp": ones})


@pytest.mark.slow
def test_a_tail_takes_the_place_of_what_is_not_given() -> None:
    """Three cosmologies, unlensed spectra to 3700: against CAMB's own lensing of its spectra to 7000.

    TT and EE to 1.5e-4 (measured 1.1e-4, of which CAMB's own spectra to 3700 and to 7000 differ by half) in place of 4e-4,
    BB to 0.5% (0.25%) in place of 2.4%.
    """
    width = torch.tensor([1.5e-4, 1.4e-3, 3e-4, 8e-3, 1.6e-2, 4.4e-3], dtype=torch.float64)
    draws = torch.rand(3, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    points = POINT + 5 * width * (2 * draws - 1)
    bare = CambTheory(CambSettings(lmax=3700, lens_potential_accuracy=1), lensed=False).spectra(points)
    whole = CambTheory(CambSettings(lmax=7000, lens_potential_accuracy=1)).spectra(points)
    smooth = Spectra({p: x for p, x in bare.dl.items() if p != "bb"})
    short, got = lens(smooth, 2500).dl, lens(smooth, 2500, tail=7000).dl
    for i in range(3):
        expected = {p: whole.dl[p][i, :2501].numpy() for p in CAMB_ORDER}
        mine, before = ({p: x[i : i + 1] for p, x in dl.items()} for dl in (got, short))
        for pair, most in (("tt", 1.5e-4), ("ee", 1.5e-4), ("te", 1e-4), ("bb", 5e-3)):
            assert _relative(mine, expected, pair).max() < most, (i, pair)
            assert _relative(mine, expected, pair).max() < 0.5 * _relative(before, expected, pair).max()


@pytest.mark.slow
def test_lensing_to_2500() -> None:
    """Against CAMB's Fortran `lensed` spectra (which extend the unlensed ones by a template) and its Python port.

    5e-4 of D_l for l <= 2500 from unlensed spectra to 3700; BB needs power from l > 3700 (2e-2 at 2500).
    """
    theory = CambTheory(CambSettings(lmax=3700, lens_potential_accuracy=1), lensed=False)
    bare = theory.spectra(POINT)
    got = lens(bare, 2500).dl
    fortran = CambTheory(CambSettings(lmax=3700, lens_potential_accuracy=1)).spectra(POINT)
    expected = {p: fortran.dl[p][0, :2501].numpy() for p in CAMB_ORDER}
    for pair in ("tt", "ee", "te"):
        assert _relative(got, expected, pair).max() < 5e-4, pair
        assert _relative(got, _camb_lensed(bare, 2500), pair).max() < 1e-4, pair
    assert _relative(got, expected, "bb")[:1500].max() < 3e-3
