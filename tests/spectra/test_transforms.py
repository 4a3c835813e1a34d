from __future__ import annotations

import healpy
import numpy as np
import pytest
from astropy.io import fits

from cmbfit.data import fetch
from cmbfit.errors import MapError, SpectrumError
from cmbfit.sky import Mask, StokesMap, remove_monopole_dipole
from cmbfit.sky.harmonic import alm2cl, alm2map, map2alm
from cmbfit.sky.preprocess import fit_monopole_dipole
from cmbfit.spectra.transforms import (
    FieldAlms,
    mask_spectrum,
    masked_alms,
    pseudo_spectra,
)

NSIDE, LMAX = 32, 64
ORACLE = "wmap7/cl_wmap_band_iqumap_r9_7yr_{}_lmax64_rmmono_3iter.fits"


def ones(nside: int = NSIDE) -> Mask:
    return Mask(np.ones(12 * nside**2), coord="G")


def fortran_spectra(name: str) -> list[np.ndarray]:
    """Read an anafast file: TT, EE, BB, TE, TB, EB in mK^2, as ASCII."""
    with fits.open(fetch(ORACLE.format(name))) as hdus:
        table = hdus[1]
        return [np.asarray(table.data.field(k), dtype=np.float64) for k in range(len(table.columns))]


def iterated(a: StokesMap, b: StokesMap, mask: Mask) -> dict[str, np.ndarray]:
    """Pseudo-spectra as anafast takes them: monopole only removed, three iterations, mK^2."""
    alms = []
    for stokes in (a, b):
        keep = mask.support
        i = stokes.i - stokes.i[keep].mean()
        cleaned = StokesMap(i, stokes.q, stokes.u, coord="G", name=stokes.name)
        alms.append(masked_alms(cleaned, mask, LMAX, n_iter=3))
    return {k: v * 1e-6 for k, v in pseudo_spectra(*alms).items()}


def test_real_maps_against_healpix_fortran_cross(wmap_maps, wmap_mask) -> None:
    """The W x V temperature spectrum of HEALPix 3.11 (Fortran), masked, not divided by fsky.

    Found: equal to 3e-7, the precision of the file and of its float32 maps.
    """
    found = iterated(wmap_maps["W"], wmap_maps["V"], wmap_mask)
    (wanted,) = fortran_spectra("WVxspec_v4_udgraded32_II")
    np.testing.assert_allclose(found["tt"], wanted, atol=5e-11, rtol=0)
    np.testing.assert_allclose(found["tt"][2:], wanted[2:], rtol=1e-6)


def test_real_maps_against_healpix_fortran_polarised(wmap_maps, wmap_mask) -> None:
    """All six spectra of W: this fixes the signs of TE, TB and EB as well."""
    found = iterated(wmap_maps["W"], wmap_maps["W"], wmap_mask)
    wanted = fortran_spectra("W_v4_udgraded32_IQU")
    for name, cl in zip(("tt", "ee", "bb", "te", "tb", "eb"), wanted, strict=True):
        np.testing.assert_allclose(found[name], cl, atol=5e-7 * np.abs(cl).max(), rtol=0, err_msg=name)


def test_against_healpy_on_the_full_sky() -> None:
    rng = np.random.default_rng(2)
    iqu = rng.standard_normal((3, 12 * NSIDE**2))
    outside = healpy.map2alm(iqu, lmax=LMAX, pol=True, iter=3)
    ours = np.concatenate([map2alm(iqu[:1], LMAX, 0, 3), map2alm(iqu[1:], LMAX, 2, 3)])
    np.testing.assert_allclose(ours, outside, atol=1e-13)
    back = np.concatenate([alm2map(ours[:1], NSIDE, 0), alm2map(ours[1:], NSIDE, 2)])
    np.testing.assert_allclose(back, healpy.alm2map(outside, NSIDE, lmax=LMAX, pol=True), atol=1e-12)
    fields = FieldAlms(*ours, lmax=LMAX)
    order = ("tt", "ee", "bb", "te", "eb", "tb")
    for name, cl in zip(order, healpy.anafast(iqu, lmax=LMAX, iter=3), strict=True):
        np.testing.assert_allclose(pseudo_spectra(fields, fields)[name], cl, atol=1e-15)


def test_cross_spectra_are_not_symmetric() -> None:
    rng = np.random.default_rng(4)
    a, b = (
        FieldAlms(*(map2alm(rng.standard_normal((1, 768)), 10, 0, 0)[0] for _ in range(3)), lmax=10)
        for _ in "ab"
    )
    one, two = pseudo_spectra(a, b), pseudo_spectra(b, a)
    for name in ("te", "eb", "tb"):
        np.testing.assert_allclose(one[name], two[name[::-1]])
        assert np.abs(one[name] - two[name]).max() > 1e-6
    np.testing.assert_allclose(one["te"], healpy.alm2cl(a.t, b.e))


def test_u_flip_turns_half_of_ee_into_bb() -> None:
    """The alarm for a COSMO/IAU mistake: E and B then share the power, about half each."""
    np.random.seed(8)  # noqa: NPY002
    ell = np.arange(LMAX + 1)
    ee = np.where(ell >= 2, 1.0 / np.maximum(ell, 1) ** 2, 0.0)
    zero = np.zeros_like(ee)
    alm = healpy.synalm([zero, ee, zero, zero], lmax=LMAX, new=True)
    q, u = alm2map(np.array(alm[1:]), NSIDE, 2)

    def spectra(sign: int) -> dict[str, np.ndarray]:
        a = masked_alms(StokesMap(np.zeros(q.size), q, sign * u, coord="G"), ones(), LMAX)
        return dict(pseudo_spectra(a, a))

    right, wrong = spectra(1), spectra(-1)
    power = right["ee"].sum()
    assert right["bb"].sum() / power < 1e-4
    assert 0.4 < wrong["ee"].sum() / power < 0.6
    assert 0.4 < wrong["bb"].sum() / power < 0.6


def test_mask_spectrum_of_a_full_sky() -> None:
    w = mask_spectrum(ones(), 190)
    assert w[0] == pytest.approx(4 * np.pi)
    assert np.abs(w[1:90]).max() < 1e-5


def test_refusals(wmap_mask) -> None:
    with pytest.raises(MapError, match="shape"):
        map2alm(np.zeros((1, 768)), 10, 2, 0)
    with pytest.raises(MapError, match="768 pixels without data"):
        map2alm(np.full((1, 768), np.nan), 10, 0, 0)
    with pytest.raises(MapError, match="lmax 33 at nside 8 with 1 iterations, expected 0 to 32"):
        map2alm(np.zeros((1, 768)), 33, 0, 1)
    with pytest.raises(MapError, match="lmax 47 at nside 8 with 0 iterations, expected 0 to 46"):
        map2alm(np.zeros((1, 768)), 47, 0, 0)
    bad = np.zeros((3, 12288))
    bad[1, np.flatnonzero(wmap_mask.support)[0]] = np.nan
    with pytest.raises(MapError, match="NaN or UNSEEN"):
        masked_alms(StokesMap(*bad, coord="G"), wmap_mask, 10)
    with pytest.raises(MapError, match="nside"):
        masked_alms(StokesMap(*np.zeros((3, 768)), coord="G"), wmap_mask, 10)
    alm = map2alm(np.zeros((1, 768)), 10, 0, 0)[0]
    other = map2alm(np.zeros((1, 768)), 11, 0, 0)[0]
    with pytest.raises(SpectrumError, match="lmax"):
        pseudo_spectra(FieldAlms(alm, alm, alm, 10), FieldAlms(other, other, other, 11))
    assert alm2cl(alm, alm).shape == (11,)


def test_monopole_and_dipole_leave_the_low_multipoles(wmap_maps, wmap_mask) -> None:
    cleaned = remove_monopole_dipole(wmap_maps["V"], wmap_mask)
    assert np.abs(fit_monopole_dipole(cleaned.i, wmap_mask)[0]).max() < 1e-10
