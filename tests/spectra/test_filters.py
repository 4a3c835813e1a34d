"""What a fit of templates takes from the sky: against exact linear algebra, NaMaster's published numbers and skies."""

from __future__ import annotations

import healpy
import numpy as np
import pytest

from cmbfit.errors import SpectrumError
from cmbfit.sky import Mask, StokesMap, apodise, remove_monopole_dipole
from cmbfit.sky.harmonic import alm2cl, alm2map, map2alm
from cmbfit.sky.simulate import draw_alm
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.coupling import coupling
from cmbfit.spectra.fields import Field
from cmbfit.spectra.filters import deprojection_bias
from cmbfit.spectra.master import GROUPS, Transfer, couple
from cmbfit.spectra.multi import prepare_pair
from cmbfit.spectra.templates import Templates, deproject, monopole_dipole
from cmbfit.spectra.transforms import FieldAlms, mask_spectrum, masked_alms
from tests.spectra import exact

NSIDE, LMAX = 16, 20
NPIX = 12 * NSIDE**2
X, Y, Z = healpy.pix2vec(NSIDE, np.arange(NPIX))
ELL = np.arange(LMAX + 1.0)
ONE = Transfer(np.ones(LMAX + 1), np.ones(LMAX + 1))
FACTOR = np.where(ELL > 1, ELL * (ELL + 1) / (2 * np.pi), np.inf)
BINS = Bins((2, 5, 9, 13, 17))
BLANK = StokesMap(*np.zeros((3, NPIX)), coord="G")


def lopsided(width: float = 24) -> Mask:
    """A cap of 60 degrees with a bite out of its side: no mirror symmetry."""
    seen = (np.cos(np.radians(60)) < Z) & (0.9 * X + 0.3 * Y + 0.2 * Z < 0.7)
    return apodise(Mask(seen.astype(float), coord="G"), width, "C2")


def no_dipole(stokes: StokesMap, mask: Mask, lmax: int) -> FieldAlms:
    return masked_alms(remove_monopole_dipole(stokes, mask), mask, lmax)


def mean_response(one: exact.Exact, two: exact.Exact, name: str, source: str) -> np.ndarray:
    """Return how the exact mean pseudo-spectrum answers to C_l of the sky, sum_mm' K K' / (2 l + 1): (lmax + 1)^2."""
    n, index = (LMAX + 1) ** 2, "teb".index

    def part(e: exact.Exact, x: str, z: str) -> np.ndarray:
        return e.kernel.reshape(3, n, 3, n)[index(x), :, index(z)]

    product = part(one, name[0], source[0]) * part(two, name[1], source[1])
    start = np.arange(LMAX + 1) ** 2
    summed = np.add.reduceat(np.add.reduceat(product, start, axis=0), start, axis=1)
    return summed / (2 * ELL[:, None] + 1)


@pytest.fixture(scope="module")
def kernels() -> tuple[Mask, exact.Exact, exact.Exact]:
    """Of a map without monopole and dipole and of one that kept them."""
    mask = lopsided()
    return mask, exact.Exact.of(mask, LMAX, no_dipole), exact.Exact.of(mask, LMAX)


@pytest.mark.parametrize("name", ["tt", "te", "tb", "et"])
@pytest.mark.parametrize("kept", [False, True])
def test_windows_are_those_of_exact_linear_algebra(kernels, name, kept) -> None:
    """The fit in both maps or in one; nothing is assumed of the spectrum, and no multipole is averaged over."""
    mask, without, plain = kernels
    one = Field("a", [BLANK], mask, ONE, filters=monopole_dipole(mask))
    two = Field("b", [BLANK], mask, ONE, filters=None if kept else monopole_dipole(mask))
    master = prepare_pair(one, two, BINS, LMAX)
    other = plain if kept else without
    group = next(g for g in GROUPS if name in g)
    for source in {"tt": ("tt",), "et": ("et", "bt")}.get(name, ("te", "tb")):
        wanted = sum(master.operator(name, s) @ mean_response(without, other, s, source) for s in group)
        found = np.zeros_like(wanted)
        if (name, source) in master.windows:  # none where all is rounding
            found[:, 2:] = master.windows[name, source][:, 2:] * FACTOR[2:]
        # 1e-3 of the largest is the quadrature of nside 16; rows whose share is below 0.003 are kept in total only
        scale = np.abs(wanted).max() if source == name else 3e-3
        np.testing.assert_allclose(found[:, 2:], wanted[:, 2:], atol=1e-2 * scale, err_msg=source)
    # and it matters: the coupling of the mask alone is off by tens of per cent in the first bin
    if name == "tt" and not kept:
        alone = couple({"tt": 1 / FACTOR}, coupling(mask_spectrum(mask, 2 * LMAX), LMAX), ONE, ONE)["tt"]
        left = mean_response(without, without, "tt", "tt") @ (1 / FACTOR)
        assert left[2] / alone[2] < 0.7


# pymaster 3.0.1, deprojection_bias of the fields below (n_iter 0, lmax 40), at l = 2, 3, 5, 8, 13, 21, 34
NAMASTER = {
    "tt": (-9.098606960078e-02, -6.586348961883e-02, -3.617918529878e-03, -9.647546031989e-06, 2.223801536559e-06,
           -4.035815114007e-07, -3.194495702279e-07),
    "te": (-1.146025396729e-02, -8.821796548080e-03, -8.210630645719e-04, 1.999947692166e-06, 4.803926277047e-06,
           -1.435032436742e-07, -2.623469036141e-08),
    "tb": (-2.350772185974e-03, -1.844173707886e-03, -1.141867084045e-04, -5.010417693262e-06, -1.291983527294e-07,
           -1.134666195687e-08, -1.327807078462e-09),
    "ee": (-5.393368950181e-03, -2.122406244897e-03, -1.041777193477e-03, -4.662211425437e-06, 2.347050004038e-06,
           1.712430342643e-06, 3.390157841132e-07),
    "eb": (-6.020538447919e-05, -1.589566086783e-04, -1.573686379916e-04, -5.970753854711e-06, -6.688013050265e-07,
           -4.033869340647e-08, -8.852899933267e-10),
    "bb": (-4.428151941417e-03, 1.218206051102e-04, 1.009864596483e-04, 1.112989247532e-06, 1.564456848730e-07,
           1.665929540402e-08, 3.027417709496e-08),
}  # fmt: skip


def test_bias_is_that_of_namaster() -> None:
    """Three templates of T and two of (Q, U) under a lopsided mask, TB and EB not zero: equal to rounding."""
    lmax = 40
    weights = np.clip((Z - 0.2) / 0.5, 0, 1) * np.clip(1.2 - X, 0, 1)
    ell = np.arange(lmax + 1.0)
    fall = np.where(ell > 1, 1 / np.maximum(ell * (ell + 1), 1), 0)
    cl = {"tt": 10 * fall, "te": 2 * fall * np.cos(ell / 5), "ee": fall * (1 + ell / 10), "bb": 0.3 * fall,
          "tb": 0.4 * fall, "eb": 0.2 * fall}  # fmt: skip
    templates = Templates(
        t=[np.ones(NPIX), X + 0.3 * Y * Z, Z**3],
        p=[np.array([X * Y, Z * X**2]), np.array([Y**2 - Z, X * Z])],
        weights_t=weights**2,
        weights_p=weights**2,
    )
    one = Transfer(np.ones(lmax + 1), np.ones(lmax + 1))
    field = Field("a", 1, Mask(weights, coord="G"), one, filters=templates)
    found = deprojection_bias(field, field, cl, lmax, list(NAMASTER))
    for name, wanted in NAMASTER.items():
        np.testing.assert_allclose(
            found[name][[2, 3, 5, 8, 13, 21, 34]], wanted, rtol=1e-8, atol=1e-13, err_msg=name
        )


@pytest.mark.slow
def test_bias_of_iterated_transforms() -> None:
    """A fit taken off maps that are transformed with two iterations: equal to exact linear algebra to rounding.

    Without iterations in the templates as well it is off by what the pixels' quadrature is wrong by.
    """
    mask, cl = lopsided(), np.where(ELL > 1, 1 / FACTOR, 0)

    def iterated(stokes: StokesMap, mask: Mask, lmax: int) -> FieldAlms:
        return masked_alms(stokes, mask, lmax, 2)

    def iterated_no_dipole(stokes: StokesMap, mask: Mask, lmax: int) -> FieldAlms:
        return iterated(remove_monopole_dipole(stokes, mask), mask, lmax)

    plain, without = (exact.Exact.of(mask, LMAX, f, sky="t") for f in (iterated, iterated_no_dipole))
    wanted = [mean_response(e, e, "tt", "tt") @ cl for e in (plain, without)]
    found = [
        deprojection_bias(f, f, {"tt": cl}, LMAX, ["tt"])["tt"]
        for n in (2, 0)
        for f in [Field("a", 1, mask, ONE, filters=monopole_dipole(mask), iterations=n)]
    ]
    scale = np.abs(wanted[1] - wanted[0]).max()
    np.testing.assert_allclose(found[0], wanted[1] - wanted[0], atol=1e-12 * scale)
    assert np.abs(found[1] - wanted[1] + wanted[0]).max() > 1e-7 * scale


def test_a_fit_that_takes_nothing() -> None:
    """The full sky: monopole and dipole hold nothing of l >= 2, and windows are those of the mask."""
    mask = Mask(np.ones(NPIX), coord="G")
    masters = [
        prepare_pair(f, f, BINS, LMAX)
        for f in (Field("a", 1, mask, ONE), Field("a", 1, mask, ONE, filters=monopole_dipole(mask)))
    ]
    for key, window in masters[0].windows.items():
        # pixels of nside 16 are orthogonal to 1e-4
        np.testing.assert_allclose(masters[1].windows[key], window, atol=1e-4 * np.abs(window).max())


def test_templates_of_polarisation_in_windows() -> None:
    """Windows of EE and BB without a (Q, U) template, against mean pseudo-spectra with NaMaster's bias."""
    mask = lopsided()
    templates = Templates(p=[np.array([X * Y, Z * X**2])], weights_p=mask.weights)
    field = Field("a", 1, mask, ONE, filters=templates)
    master = prepare_pair(field, field, BINS, LMAX)
    cl = {"ee": (1 + ELL / 5) / FACTOR, "bb": 0.2 / FACTOR}
    bias = deprojection_bias(field, field, cl, LMAX)
    pseudo = {s: v + bias[s] for s, v in couple(cl, master.coupling, ONE, ONE).items()}
    found, wanted = master.decouple(pseudo), master.bin_theory({"ee": 1 + ELL / 5, "bb": 0.2 + 0 * ELL})
    for s in ("ee", "bb"):
        # where little is taken its total is kept, for a flat D_l
        np.testing.assert_allclose(found[s], wanted[s], rtol=2e-3, err_msg=s)
    plain = Field("a", 1, mask, ONE)
    assert prepare_pair(plain, plain, BINS, LMAX).decouple(pseudo)["ee"][0] < 0.97 * wanted["ee"][0]


def test_deproject_is_the_least_squares_fit() -> None:
    """Against numpy's lstsq and, for monopole and dipole, the fit of cmbfit.sky."""
    rng, mask = np.random.default_rng(3), lopsided()
    sky = StokesMap(*rng.standard_normal((3, NPIX)), coord="G")
    shapes = rng.standard_normal((2, 2, NPIX))
    left = deproject(sky, Templates(p=list(shapes), weights_p=mask.weights), mask)
    root, seen = np.sqrt(mask.weights), mask.support
    design = np.stack([(root * s).ravel() for s in shapes], axis=1)
    c = np.linalg.lstsq(design, (root * sky.iqu[1:]).ravel(), rcond=None)[0]
    wanted = sky.iqu[1:] - np.tensordot(c, shapes, 1)
    np.testing.assert_allclose(left.iqu[1:, seen], wanted[:, seen], atol=1e-12)
    other = deproject(sky, monopole_dipole(mask), mask)
    np.testing.assert_allclose(other.i[seen], remove_monopole_dipole(sky, mask).i[seen], atol=1e-10)


def test_a_filter_cannot_be_forgotten() -> None:
    mask = lopsided()
    sky = StokesMap(*np.random.default_rng(1).standard_normal((3, NPIX)), coord="G", name="V")
    sky = remove_monopole_dipole(sky, mask)
    with pytest.raises(SpectrumError, match=r"map 'V' went through .*monopole_dipole\(mask\)"):
        Field("a", [sky], mask, ONE)
    Field("a", [sky], mask, ONE, filters=monopole_dipole(mask))
    with pytest.raises(SpectrumError, match="zero or alike"):
        Templates(t=[Z, 2 * Z], weights_t=mask.weights).normal("t")
    pure = Field(
        "a", 1, mask, ONE, purify_b=True, filters=Templates(p=[np.array([X, Y])], weights_p=mask.weights)
    )
    with pytest.raises(SpectrumError, match="without templates of Q and U is not implemented"):
        prepare_pair(pure, pure, BINS, LMAX)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("radius", "width", "edges", "ignored"),
    [(60, 10, (2, 17, 32, 47, 62, 92), 0.93), (15, 6, (2, 32, 62, 92, 122, 152), 0.6)],
)
def test_monopole_and_dipole_on_caps(radius, width, edges, ignored) -> None:
    """150 noiseless skies, nside 64: TT comes back within four errors of the mean; windows of the mask alone miss it."""
    nside, lmax = 64, 191
    z = healpy.pix2vec(nside, np.arange(12 * nside**2))[2]
    mask = apodise(Mask((z > np.cos(np.radians(radius))).astype(float), coord="G"), width, "C2")
    ell = np.arange(lmax + 1.0)
    tt = np.where(ell > 1, 800 + 0.225 * ell**2 + 400 * np.exp(-ell / 3), 0)
    one = Transfer(np.ones(lmax + 1), np.ones(lmax + 1))
    field = Field("a", 1, mask, one, filters=monopole_dipole(mask))
    masters = [prepare_pair(f, f, Bins(edges), lmax) for f in (field, Field("a", 1, mask, one))]
    rng, found = np.random.default_rng(3), []
    dl = {"tt": tt} | dict.fromkeys(("ee", "bb", "te"), 0 * tt)
    for _ in range(150):
        sky = alm2map(draw_alm(dl, lmax, rng)[:1], nside, 0)[0]
        clean = remove_monopole_dipole(StokesMap(sky, 0 * sky, 0 * sky, coord="G"), mask)
        alm = map2alm((clean.i * mask.weights)[None], lmax, 0, 0)[0]
        found.append([m.operator("tt", "tt") @ alm2cl(alm, alm) for m in masters])
    x = np.array(found)
    expected = [m.windows["tt", "tt"] @ tt for m in masters]
    pull = (x[:, 0].mean(axis=0) - expected[0]) / x[:, 0].std(axis=0) * np.sqrt(150)
    assert np.abs(pull).max() < 4
    np.testing.assert_allclose(masters[0].windows["tt", "tt"].sum(axis=1), 1, rtol=1e-9)
    assert (x[:, 1].mean(axis=0) / expected[1])[0] < ignored
