"""Our own spectra, written as SACC and read back as a likelihood; other people's files, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sacc
import scipy.stats
import torch

from cmbfit.errors import LikelihoodError, SpectrumError
from cmbfit.likelihood.bandpower_model import pair_blocks
from cmbfit.likelihood.base import refuse_double_counting
from cmbfit.likelihood.sacc_data import read_own_spectra, read_sacc
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.combination import combine
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.estimate import cl_from_dl
from cmbfit.spectra.multi import make_plan
from cmbfit.spectra.product import Bandpowers, read_spectra, write_combined
from cmbfit.theory.spectra import Spectra
from tests.spectra.fields_simulation import FieldSky, make_fields, simulate
from tests.spectra.simulation import EDGES, LMAX, input_dl

N_SKIES = 150


@pytest.fixture(scope="module")
def skies() -> tuple[list[Bandpowers], dict[str, np.ndarray]]:
    """Combined spectra of simulated skies, and their input."""
    dl, fields = input_dl(), make_fields()
    plan = make_plan(fields, Bins(EDGES))
    matrix = multi_covariance(plan, fields, cl_from_dl(dl, LMAX))
    found = simulate(FieldSky(dl, fields), plan, np.random.default_rng(77), N_SKIES)
    return [combine(plan, x, matrix, {"fsky": 0.6}) for x in found], dl


@pytest.fixture
def product(tmp_path: Path, skies) -> Path:
    path = tmp_path / "cmb.sacc.fits"
    write_combined(path, skies[0][0])
    return path


def spectra_of(dl: dict[str, np.ndarray], amplitudes: np.ndarray) -> Spectra:
    return Spectra({p: torch.from_numpy(amplitudes[:, None] * x) for p, x in dl.items()})


def test_combined_product_survives_the_file(product: Path, skies) -> None:
    data, back = skies[0][0], read_spectra(product)
    assert back.names == data.names
    assert back.edges == EDGES
    for s in data.names:
        np.testing.assert_array_equal(back.values[s], data.values[s])
    np.testing.assert_allclose(back.covariance, data.covariance, rtol=1e-14)
    assert set(back.windows) == set(data.windows)
    for key, w in data.windows.items():
        np.testing.assert_allclose(back.windows[key], w, rtol=1e-14, atol=1e-18)


def test_log_prob_is_scipys_of_the_binned_theory(product: Path, skies) -> None:
    """Windows, leakage, cuts and covariance through the file, against Bandpowers.theory and scipy."""
    data, dl = skies[0][0], skies[1]
    pairs = ("te", "ee", "bb")
    ranges = {"te": (5, 64), "ee": (2, 64), "bb": (14, 53)}
    like = read_own_spectra(product, "sim", survey="sim", pairs=pairs, ranges=ranges)
    assert like.info.sky == {"sim": {"te": (5, 64), "ee": (2, 64), "bb": (14, 53)}}
    keep = np.concatenate(
        [
            data.names.index(p) * 9 + np.arange(*r)
            for p, r in zip(pairs, ((1, 9), (0, 9), (3, 8)), strict=True)
        ]
    )
    theory = data.theory({p: dl[p] for p in pairs})
    model = np.concatenate([theory[s] for s in data.names])[keep]
    values = np.concatenate([data.values[s] for s in data.names])[keep]
    matrix = data.covariance[np.ix_(keep, keep)]
    constant = -0.5 * np.linalg.slogdet(2 * np.pi * matrix)[1]
    found = like.log_prob(spectra_of(dl, np.ones(1)), {}).item()
    # windows end where 1e-6 of their weight is left: ln L to 1e-4
    assert found + constant == pytest.approx(
        scipy.stats.multivariate_normal.logpdf(values, model, matrix), abs=1e-4
    )
    whitened, target = like.whitened()
    chi2 = (sum(w.numpy() @ dl[p][: w.shape[1]] for (p, _), w in whitened.items()) - target.numpy()) ** 2
    assert -0.5 * chi2.sum() == pytest.approx(found, rel=1e-9)
    assert like.to("cpu").log_prob(spectra_of(dl, np.ones(1)), {}).item() == found
    assert like.settings()["files"][product.name]


def test_a_fit_recovers_the_amplitude(skies, tmp_path: Path) -> None:
    """Maps to likelihood: the amplitude of all spectra, fitted to each sky, has mean 1 and the error it claims."""
    both, dl = skies
    path = tmp_path / "cmb.sacc.fits"
    write_combined(path, both[0])
    pairs = ("tt", "te", "ee", "bb")
    fitted, errors = [], []
    grid = np.array([0.8, 1.0, 1.2])
    like = read_own_spectra(path, "sim", survey="sim", pairs=pairs, ranges=dict.fromkeys(pairs, (5, 64)))
    model = like.bandpowers(spectra_of(dl, grid), {}).numpy()[1]
    inverse = np.linalg.inv(like.covariance.numpy())
    error = float((model @ inverse @ model) ** -0.5)
    for k, sky in enumerate(both):
        if k < 3:  # through the file; the others differ in their values only
            write_combined(path, sky)
            one = read_own_spectra(
                path, "sim", survey="sim", pairs=pairs, ranges=dict.fromkeys(pairs, (5, 64))
            )
            curve = np.polyfit(grid, one.log_prob(spectra_of(dl, grid), {}).numpy(), 2)
            through_file = -curve[1] / (2 * curve[0])
        values = np.concatenate([sky.values[p][1:] for p in pairs])
        fitted.append(model @ inverse @ values * error**2)
        errors.append((fitted[-1] - 1) / error)
        if k < 3:
            assert through_file == pytest.approx(fitted[-1], rel=1e-8)
    assert np.mean(errors) == pytest.approx(0, abs=4 / np.sqrt(N_SKIES))
    assert np.std(errors) == pytest.approx(1, abs=4 / np.sqrt(2 * N_SKIES))
    assert error < 0.04  # the test has teeth


def test_unused_pairs_do_not_leak(product: Path) -> None:
    like = read_own_spectra(product, "sim", survey="sim", pairs=("tt", "ee"))
    assert like.pairs == ("tt", "ee")
    both = read_own_spectra(product, "two", survey="sim", pairs=("bb", "ee"))
    assert both.pairs == ("bb", "ee")
    with pytest.raises(LikelihoodError, match="count the same sim EE"):
        refuse_double_counting([like.info, both.info])


def foreign(path: Path, unit: str, *, windows: bool = True, covariance: bool = True) -> np.ndarray:
    """A file of two TT combinations and EE, windows from l = 2 as other codes write them."""
    file = sacc.Sacc()
    for name, spin in (("A", 0), ("B", 0), ("P", 2)):
        file.add_tracer("Map", name, spin=spin, ell=np.arange(31), beam=np.ones(31))
    ell = np.arange(2, 31)
    weights = np.zeros((29, 4))
    for b in range(4):
        weights[7 * b : 7 * b + 7, b] = 1 / 7
    for kind, one, two, level in (
        ("cl_00", "A", "A", 1.0),
        ("cl_00", "A", "B", 2.0),
        ("cl_ee", "P", "P", 3.0),
    ):
        window = sacc.BandpowerWindow(ell, weights) if windows else None
        file.add_ell_cl(kind, one, two, np.arange(4) * 7 + 5.0, level + np.arange(4), window=window)
    matrix = np.diag(np.arange(1.0, 13))
    if covariance:
        file.add_covariance(matrix)
    file.save_fits(str(path), overwrite=True)
    full = np.zeros((4, 31))
    full[:, 2:] = weights.T
    return full * (2 * np.pi / np.maximum(np.arange(31) * (np.arange(31) + 1), 1) if unit == "cl" else 1)


@pytest.mark.parametrize("unit", ["dl", "cl"])
def test_a_foreign_file(tmp_path: Path, unit, rng) -> None:
    path = tmp_path / "x.fits"
    window = foreign(path, unit)
    like = read_sacc(path, "x", survey="other", unit=unit, pairs=("ee", "tt"), ranges={"tt": (8, 30)})
    dl = {p: rng.uniform(1, 2, 41) for p in ("tt", "ee")}
    model = np.concatenate([window @ dl["ee"][:31], *[window[1:] @ dl["tt"][:31]] * 2])
    data = np.concatenate([3 + np.arange(4), [2, 3, 4], [3, 4, 5]])
    variance = np.concatenate([np.arange(9, 13), [2, 3, 4], [6, 7, 8]])
    wanted = -0.5 * np.sum((model - data) ** 2 / variance)
    found = like.log_prob(Spectra({p: torch.from_numpy(x[None]) for p, x in dl.items()}), {}).item()
    assert found == pytest.approx(wanted, rel=1e-12)
    assert like.info.sky["other"] == {"ee": (2, 29), "tt": (9, 29)}
    assert like.info.n_data == 10


def test_refusals(tmp_path: Path, product: Path, rng) -> None:
    with pytest.raises(LikelihoodError, match="pairs \\['pp'\\]"):
        read_own_spectra(product, "x", survey="s", pairs=("pp",))
    with pytest.raises(LikelihoodError, match="no bin of tt"):
        read_own_spectra(product, "x", survey="s", pairs=("tt",), ranges={"tt": (3, 4)})
    with pytest.raises(SpectrumError, match=r"expected a (whole FITS|SACC) file"):
        read_own_spectra(tmp_path / "none.fits", "x", survey="s")
    path = tmp_path / "x.fits"
    with pytest.raises(LikelihoodError, match=r"expected a (whole FITS|SACC) file"):
        read_sacc(path, "x", survey="s", unit="dl")
    foreign(path, "dl")
    for change, message in (
        ({"unit": "K"}, "expected 'dl' or 'cl'"),
        ({"pairs": ("bb",)}, "no spectrum bb"),
        ({"pairs": ("tt",), "ranges": {"tt": (90, 99)}}, "no bandpower of tt"),
    ):
        with pytest.raises(LikelihoodError, match=message):
            read_sacc(path, "x", **({"survey": "s", "unit": "dl"} | change))
    foreign(path, "dl", covariance=False)
    with pytest.raises(LikelihoodError, match="no covariance"):
        read_sacc(path, "x", survey="s", unit="dl", pairs=("tt",))
    foreign(path, "dl", windows=False)
    with pytest.raises(LikelihoodError, match="windows"):
        read_sacc(path, "x", survey="s", unit="dl", pairs=("tt",))
    with pytest.raises(LikelihoodError, match="leakage of bb into ee"):
        pair_blocks({"ee": np.ones((2, 9))}, {("ee", "bb"): np.ones((3, 9))})
