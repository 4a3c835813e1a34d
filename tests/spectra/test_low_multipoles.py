"""The lowest multipoles of the covariance: against linear algebra by other transforms, and skies of LCDM's small B."""

from __future__ import annotations

import itertools
from dataclasses import replace

import healpy
import numpy as np
import pytest

from cmbfit.errors import SpectrumError
from cmbfit.sky import Mask, StokesMap, apodise, gaussian_beam, remove_monopole_dipole
from cmbfit.sky.harmonic import alm2cl, alm2stokes, scale_alm
from cmbfit.sky.simulate import draw_alm
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.correlations import FieldCorrelations
from cmbfit.spectra.covariance import multi_covariance, require_positive
from cmbfit.spectra.estimate import cl_from_dl
from cmbfit.spectra.fields import Field, Noise
from cmbfit.spectra.leftover import pure_leftover
from cmbfit.spectra.low_multipoles import LowMultipoles, exact_lmax, leakage_note
from cmbfit.spectra.master import Transfer
from cmbfit.spectra.multi import Entry, estimate_bandpowers, field_alms, make_plan
from cmbfit.spectra.templates import monopole_dipole
from cmbfit.spectra.transforms import FieldAlms, masked_alms
from cmbfit.theory.base import point_from_values
from tests.spectra import exact

EDGES = (2, 10, 20, 30, 40, 50, 60)
NAMES = ("tt", "te", "et", "ee", "eb", "be", "bb", "tb", "bt")


@pytest.fixture(scope="module")
def lcdm(emulator) -> dict[str, np.ndarray]:
    """Lensed spectra without tensors: BB is a thousandth of EE."""
    values = {
        "ombh2": 0.02236,
        "omch2": 0.1202,
        "theta_mc": 1.04090,
        "tau": 0.0544,
        "logA": 3.045,
        "ns": 0.9649,
    }
    dl = emulator.spectra(point_from_values(emulator, values)).dl
    return {k: dl[k][0].numpy() for k in ("tt", "te", "ee", "bb")}


def patch(kind: str, nside: int = 32) -> Mask:
    """|b| > 17 degrees with forty holes, or a cap of a tenth of the sky before apodisation."""
    npix = 12 * nside**2
    z = healpy.pix2vec(nside, np.arange(npix))[2]
    if kind == "cap":
        return apodise(Mask((z > 0.8).astype(float), coord="G", name=kind), 8, "C2")
    seen, rng = (np.abs(z) > 0.3).astype(float), np.random.default_rng(5)
    for v in rng.standard_normal((40, 3)):
        seen[healpy.query_disc(nside, v / np.linalg.norm(v), np.radians(2))] = 0
    return apodise(Mask(seen, coord="G", name=kind), 6, "C2")


def fields_of(mask: Mask, arcmin: float, **kwargs) -> list[Field]:
    lmax = 3 * mask.nside - 1
    level = np.full(lmax + 1, (arcmin * np.pi / 10800) ** 2)
    blank = StokesMap(*np.zeros((3, 12 * mask.nside**2)), coord="G")
    beam = gaussian_beam(lmax, 60.0)
    return [Field(n, [blank], mask, Transfer(beam, beam), Noise(level, 2 * level), **kwargs) for n in "ab"]


def no_dipole(stokes: StokesMap, mask: Mask, lmax: int) -> FieldAlms:
    return masked_alms(remove_monopole_dipole(stokes, mask), mask, lmax)


@pytest.mark.parametrize("filtered", [False, True])
def test_against_linear_algebra_of_the_pixels(filtered) -> None:
    """Every element of l 2-6 with l 2-18 for B of nothing, where closed forms fail; noise with hits in one split.

    The other side goes through maps of nside 16 (quadrature 1e-4), and through the fit of monopole and dipole itself.
    """
    nside, lmax = 16, 18
    npix = 12 * nside**2
    z = healpy.pix2vec(nside, np.arange(npix))[2]
    mask = apodise(Mask((z > 0.5).astype(float), coord="G"), 24, "C2")
    ell = np.arange(lmax + 1.0)
    fall = np.where(ell > 1, 1 / np.maximum(ell * (ell + 1), 1), 0)
    cl = {"tt": 10 * fall, "ee": fall, "te": fall}
    kernels = exact.Exact.of(mask, lmax, no_dipole if filtered else masked_alms, sky="te")
    g = {("a", "a"): kernels.correlation(kernels, cl)}
    one, blank = Transfer(np.ones(lmax + 1), np.ones(lmax + 1)), StokesMap(*np.zeros((3, npix)), coord="G")
    none = Noise(0 * ell, 0 * ell)
    filters = monopole_dipole(mask) if filtered else None
    fields = [Field(n, [blank], mask, one, none, filters=filters) for n in "ab"]
    low = LowMultipoles(FieldCorrelations(fields, cl, lmax), 6)
    for first, second in (
        ("tt", "tt"),
        ("te", "te"),
        ("ee", "ee"),
        ("bb", "bb"),
        ("eb", "eb"),
        ("eb", "tb"),
        ("tt", "ee"),
    ):
        wanted = exact.pseudo_covariance(
            lmax, f"{first[0]} a {first[1]} a", f"{second[0]} a {second[1]} a", g
        )[:7]
        found = low.covariance(Entry(first, "a", "b"), Entry(second, "a", "b"))
        np.testing.assert_allclose(
            found[2:, 2:], wanted[2:, 2:], atol=1e-3 * np.abs(wanted[2:, 2:]).max(), err_msg=first + second
        )
    # bandpowers of all multipoles by linear algebra, of uniform bins: B C B^T of the pixels' own covariances
    field = Field("a", 2, mask, one, none, filters=filters)
    plan = make_plan([field], Bins((2, 5, 9, 14, 19), "uniform"), lmax)
    master, n, names = plan.masters["a", "a"], plan.bins.n, [e.spectrum for e in plan.entries]
    matrix = multi_covariance(plan, [field], cl, low=lmax).reshape(len(names), n, len(names), n)
    for name, others in (("tt", ("tt",)), ("te", ("te",)), ("bb", ("ee", "bb")), ("eb", ("eb", "be"))):
        wanted = np.zeros((n, n))
        for first in others:
            for second in others:
                both = (f"{s[0]} a {s[1]} a" for s in (first, second))
                exact_one = exact.pseudo_covariance(lmax, *both, g)
                wanted += master.operator(name, first) @ exact_one @ master.operator(name, second).T
        k = names.index(name)
        # the lowest and the highest bin are next to multipoles that pixels integrate to 1e-3 of the largest element
        np.testing.assert_allclose(matrix[k, :, k], wanted, atol=5e-3 * wanted.max(), err_msg=name)


def test_noise_with_hits_is_that_of_the_pixels() -> None:
    """Pixel noise with a depth that varies by four, two splits with equal noise: exact linear algebra of the pixels."""
    nside, lmax = 8, 12
    npix = 12 * nside**2
    z = healpy.pix2vec(nside, np.arange(npix))[2]
    mask, depth = apodise(Mask((z > 0.3).astype(float), coord="G"), 30, "C2"), 1 + 0.75 * z
    one, blank = Transfer(np.ones(lmax + 1), np.ones(lmax + 1)), StokesMap(*np.zeros((3, npix)), coord="G")
    level = np.ones(lmax + 1)
    kernels = exact.Exact.of(mask, lmax, sky="", noise=True)
    variance = np.array([1, 2, 2])[:, None] * depth * npix / (4 * np.pi)
    g = {("a", "a"): kernels.correlation(kernels, {}, variance)}
    g[("b", "b")], g[("a", "b")] = g[("a", "a")], np.zeros_like(g[("a", "a")])
    fields = [Field(n, [blank], mask, one, Noise(level, 2 * level, depth)) for n in "ab"]
    low = LowMultipoles(FieldCorrelations(fields, {"tt": 0 * level}, lmax), 5)
    for name in ("tt", "te", "ee", "eb", "bb"):
        wanted = exact.pseudo_covariance(lmax, f"{name[0]} a {name[1]} b", f"{name[0]} a {name[1]} b", g)[:6]
        found = low.covariance(Entry(name, "a", "b"), Entry(name, "a", "b"))
        # nside 8 integrates weights of l up to 24 to a per cent
        np.testing.assert_allclose(found[2:, 2:], wanted[2:, 2:], atol=0.02 * wanted.max(), err_msg=name)


@pytest.mark.parametrize(
    ("kind", "arcmin", "low", "refused"),
    [("galactic", 5, 10, "eb axb l 2-9"), ("cap", 60, None, "eb axb l 2-9")],
)
def test_positive_where_closed_forms_are_not(lcdm, kind, arcmin, low, refused) -> None:
    """LCDM's B: the closed form is refused by name of spectrum and bin, the exact lowest multipoles are positive."""
    fields = fields_of(patch(kind), arcmin)
    plan = make_plan(fields, Bins(EDGES))
    signal = cl_from_dl(lcdm, plan.lmax)
    with pytest.raises(SpectrumError, match=f"not positive definite .*{refused}"):
        multi_covariance(plan, fields, signal, low=0)
    matrix = multi_covariance(plan, fields, signal, low=low)
    n = plan.bins.n
    eb, tb = NAMES.index("eb") * n, NAMES.index("tb") * n
    correlation = matrix[eb, tb] / np.sqrt(matrix[eb, eb] * matrix[tb, tb])
    # 300 skies (test below): 0.13 +- 0.06 and 0.27 +- 0.05
    assert correlation == pytest.approx({"galactic": 0.13, "cap": 0.27}[kind], abs=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("arcmin", [5, 60])
@pytest.mark.parametrize("kind", ["galactic", "cap"])
def test_errors_of_300_skies(lcdm, kind, arcmin) -> None:
    """Errors over the scatter of 300 skies (good to 4 % for Gaussian numbers, 8 % for bandpowers of a few modes)."""
    fields, rng, out = fields_of(patch(kind), arcmin), np.random.default_rng(1), []
    plan = make_plan(fields, Bins(EDGES))
    lmax, n = plan.lmax, plan.bins.n
    matrix = multi_covariance(plan, fields, cl_from_dl(lcdm, lmax))
    dl = {k: v[: lmax + 1] for k, v in lcdm.items()}
    for _ in range(300):
        sky = alm2stokes(np.stack([scale_alm(x, fields[0].transfer.t) for x in draw_alm(dl, lmax, rng)]), 32)
        alms = {}
        for f in fields:
            level = (
                np.array([f.noise_of(0).t[2], f.noise_of(0).p[2], f.noise_of(0).p[2]])
                * sky.shape[1]
                / (4 * np.pi)
            )
            noisy = sky + np.sqrt(level)[:, None] * rng.standard_normal(sky.shape)
            alms[f.name] = field_alms(replace(f, splits=[StokesMap(*noisy, coord="G")]), lmax)
        out.append(estimate_bandpowers(plan, alms))
    x = np.array(out)
    ratio = np.sqrt(np.diag(matrix)).reshape(9, n) / x.std(axis=0)
    assert np.abs(ratio[:, 0] - 1).max() < 0.16, ratio
    assert np.abs(ratio[:, 1:] - 1).max() < 0.15, ratio
    # at 5 uK arcmin nearly all of B is leaked E at l 10-29: closed forms give 0.73 and 0.87 for EB there
    parity = [NAMES.index(k) for k in ("eb", "be", "tb", "bt")]
    assert np.abs(ratio[parity, 1:3] - 1).max() < 0.10, ratio[parity]
    found = np.corrcoef(x[:, NAMES.index("eb"), 0], x[:, NAMES.index("tb"), 0])[0, 1]
    eb, tb = NAMES.index("eb") * n, NAMES.index("tb") * n
    assert matrix[eb, tb] / np.sqrt(matrix[eb, eb] * matrix[tb, tb]) == pytest.approx(found, abs=0.17)


def test_share_of_leaked_e(lcdm) -> None:
    """Against pseudo-spectra of eight skies that healpy draws, with E and without; what follows from the share is said."""
    mask = patch("galactic")
    fields = fields_of(mask, 20)
    lmax, beam = 95, fields[0].transfer.p
    signal = cl_from_dl(lcdm, lmax)
    corr = FieldCorrelations(fields, signal, lmax)
    np.random.seed(7)  # noqa: NPY002 (healpy draws from the global generator)
    level, zero, power = fields[0].noise_of(0).p[: lmax + 1], np.zeros(lmax + 1), {}
    for kind, (ee, bb) in {"leaked": (signal["ee"], zero), "rest": (zero, signal["bb"])}.items():
        cls = [zero, ee * beam**2, bb * beam**2 + (level if kind == "rest" else 0), zero]
        skies = [healpy.synfast(cls, 32, lmax=lmax, new=True) for _ in range(8)]
        found = [masked_alms(StokesMap(*x, coord="G"), mask, lmax).b for x in skies]
        power[kind] = np.mean([alm2cl(b, b) for b in found], axis=0)
    for low, high in itertools.pairwise(EDGES):
        ell = slice(low, high)
        wanted = power["leaked"][ell].sum() / (power["leaked"][ell] + power["rest"][ell]).sum()
        # of noise in E, which the share does not count, some leaks as well
        assert corr.leaked_share("a")[ell].mean() == pytest.approx(wanted, rel=0.25, abs=0.01)
    assert exact_lmax(corr) == 13
    assert not leakage_note(corr, 13)
    quiet = [replace(f, noise=Noise(0.06 * level, 0.06 * level)) for f in fields]
    assert exact_lmax(FieldCorrelations(quiet, signal, lmax)) == 30
    many = [
        replace(quiet[0], name=str(k), transfer=Transfer(*(gaussian_beam(lmax, 50.0 + k),) * 2))
        for k in range(6)
    ]
    corr = FieldCorrelations(many, signal, lmax)
    low = exact_lmax(corr)
    assert low == 14
    (note,) = leakage_note(corr, low)
    assert f"at l {low + 1}-30 may be off" in note


def test_the_message_names_spectra_and_bins() -> None:
    names = ["tt l 2-9", "bb l 2-9", "eb l 2-9"]
    with pytest.raises(SpectrumError, match=r"M is not .* -inf; variance not above zero: bb l 2-9\)"):
        require_positive(np.diag([1.0, -1.0, 1.0]), "M", names)
    with pytest.raises(SpectrumError, match=r"; in (bb|eb) l 2-9 \(50%\), (bb|eb) l 2-9 \(50%\)"):
        require_positive(np.array([[1, 0, 0], [0, 1, 1.5], [0, 1.5, 1.0]]), "M", names)


def test_leftover_of_pure_b(lcdm) -> None:
    """Against the mean of pure-E skies drawn by healpy: what pixels leave in BB, far above lensing on a small cap."""
    nside = 32
    z = healpy.pix2vec(nside, np.arange(12 * nside**2))[2]
    mask = apodise(Mask((z > np.cos(np.radians(40))).astype(float), coord="G"), 20, "C2")
    fields = fields_of(mask, 5, purify_b=True)
    plan = make_plan(fields, Bins(EDGES))
    signal = cl_from_dl(lcdm, plan.lmax)
    found = pure_leftover(plan, fields, signal, n_skies=12)["a", "b"]
    np.random.seed(4)  # noqa: NPY002 (healpy draws from the global generator)
    skies, beam = [], fields[0].transfer.p
    for _ in range(12):
        zero = 0 * signal["ee"]
        iqu = healpy.synfast([zero, signal["ee"] * beam**2, zero, zero], nside, lmax=plan.lmax, new=True)
        sky = StokesMap(*iqu, coord="G")
        alms = {f.name: field_alms(replace(f, splits=[sky]), plan.lmax) for f in fields}
        skies.append(estimate_bandpowers(plan, alms)[NAMES.index("bb")])
    error = np.hypot(found.error, np.std(skies, axis=0) / np.sqrt(12))
    assert np.abs((found.dl - np.mean(skies, axis=0)) / error).max() < 4
    sought = plan.theory({"bb": lcdm["bb"]})[NAMES.index("bb")]
    assert abs(found.dl[0]) > sought[0]
    (note,) = found.notes(sought, sought, EDGES)
    assert "pure B: pixels leave E in BB, in units of the BB of the theory l 2-9: " in note
    assert not found.notes(1e6 * sought, sought, EDGES)
