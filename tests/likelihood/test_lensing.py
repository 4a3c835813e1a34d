"""Planck and ACT lensing: published numbers, loops over the published files, other readers of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import yaml

from cmbfit import data
from cmbfit.errors import DataError, LikelihoodError
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.bandpower_model import Block
from cmbfit.likelihood.base import refuse_double_counting
from cmbfit.likelihood.datasets import check_reference, reference_of, self_check
from cmbfit.likelihood.datasets.candl_format import read_candl
from cmbfit.likelihood.datasets.candl_likelihood import blocks_of, likelihood_of
from cmbfit.likelihood.datasets.planck_lensing import planck_lensing
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.spectra import Spectra

from .conftest import fetched
from .helpers import info, one, random_covariance

PLANCK = "planck2018_lensing"


def test_camb_at_the_planck_point_gives_the_published_chi2(camb_planck_point: Spectra) -> None:
    """8.866 by Cobaya's native lensing likelihood; its own test says 8.86. CAMB's version is worth 0.05."""
    like = load_likelihood(PLANCK)
    got = -2 * like.log_prob(camb_planck_point, {"A_planck": one(value=1.00044)}).item()
    assert got == pytest.approx(8.866, abs=0.05)


def table(name: str) -> np.ndarray:
    return np.array(
        [
            [float(x) for x in line.split()]
            for line in data.read_bytes(f"{PLANCK}/{name}").decode().splitlines()
            if not line.startswith("#")
        ]
    )


def test_planck_lensing_equals_loops_over_the_published_files(rng: np.random.Generator) -> None:
    """Columns TT EE TE PP of the responses; the CMB is divided by A_planck^2, the lensing spectrum is not."""
    ell = np.arange(2501)
    shape = {"tt": 2000.0, "ee": 20.0, "te": 50.0, "pp": 1e-7}
    dl = {p: a * rng.standard_normal(2501) * (ell >= 2) for p, a in shape.items()}
    a_planck = 1.01
    model = []
    for b in range(1, 10):
        value = sum(w * dl["pp"][int(el)] for el, w in table(f"window/window{b}.dat"))
        for el, *response in table(f"lens_delta_window/window{b}.dat"):
            for weight, pair in zip(response, ("tt", "ee", "te", "pp"), strict=True):
                factor = 1.0 if pair == "pp" else a_planck**-2
                value += weight * factor * dl[pair][int(el)]
        model.append(value - table("lensing_fiducial_correction.dat")[b - 1, 1])
    residual = np.array(model) - table("bandpowers.dat")[:, 4]
    expected = -0.5 * residual @ np.linalg.solve(table("cov.dat"), residual)
    spectra = Spectra({p: torch.from_numpy(x)[None] for p, x in dl.items()})
    got = load_likelihood(PLANCK).log_prob(spectra, {"A_planck": one(value=a_planck)}).item()
    assert got == pytest.approx(expected, rel=1e-10)


def test_the_correction_vanishes_where_the_cmb_is_the_fiducial_one() -> None:
    """The responses times the best fit's spectra are near the fiducial value: within 1%, against 50% of TT alone."""
    like = load_likelihood(PLANCK)
    assert isinstance(like, GaussianBandpowers)
    fiducial = table("lensing_fiducial_correction.dat")[:, 1]
    point = torch.tensor([[0.02237, 0.12, 1.0409, 0.0544, 3.044, 0.9649]], dtype=torch.float64)
    from cmbfit.theory.emulator.bundle import load_emulator

    spectra = load_emulator("lcdm_planck2018").spectra(point)
    total = sum(
        (spectra.dl[source][0, : w.shape[1]] @ w.T).numpy() for source, w in like.blocks[0].leakage.items()
    )
    np.testing.assert_allclose(total, fiducial, rtol=0.01)


def test_calibration_and_responses_survive_folding(emulator: LinearEmulator) -> None:
    from cmbfit.likelihood import Posterior, Uniform
    from cmbfit.likelihood.compiled import compile_posterior

    likes = [load_likelihood(n) for n in (PLANCK, "planck2018_plik_lite_tt")]
    box = {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    compiled = compile_posterior(Posterior(emulator, likes, box))
    assert compiled.fold_difference is not None
    assert compiled.fold_difference < 1e-9


def test_gradients_of_a_lensing_likelihood(rng: np.random.Generator) -> None:
    """A linear model: the gradient of ln L is minus the precision times the residual, by finite differences."""
    leakage = {"tt": rng.random((3, 20)), "pp": rng.random((3, 15))}
    block = Block("pp", "pp", rng.random((3, 12)), leakage)
    like = GaussianBandpowers(info(nuisance={}), [block], rng.random(3), random_covariance(rng, 3))
    assert like.lmax == 19
    dl = {p: torch.from_numpy(rng.random((2, 20))) for p in ("tt", "pp")}

    def value(tt: torch.Tensor) -> torch.Tensor:
        return like.log_prob(Spectra({**dl, "tt": tt}), {})

    assert torch.autograd.gradcheck(value, dl["tt"].requires_grad_(True))
    rows, target = like.whitened()
    total = sum(dl[p].detach()[:, : r.shape[1]] @ r.T for (p, _), r in rows.items()) - target
    np.testing.assert_allclose(-0.5 * (total**2).sum(1), value(dl["tt"]).detach(), rtol=1e-12)


@pytest.mark.network
def test_act_lensing_gives_candls_own_numbers() -> None:
    """Release 1.2 with the Hartlap factor of 792 simulations: the number that is quoted for version 0 belongs to it."""
    fetched("act_dr6_lensing")
    fetched("candl_tests")
    difference = self_check("act_dr6_lensing")
    assert difference is not None
    assert abs(difference) < 1e-12
    # without the Hartlap factor, (792 - 10 - 2)/791: ln L -7.1276
    assert reference_of("act_dr6_lensing")["log_like"] == pytest.approx(
        -7.127576449010114 * 780 / 791, rel=1e-12
    )
    with pytest.raises(LikelihoodError, match="count the same planck PP multipoles 40-400"):
        refuse_double_counting([load_likelihood(n).info for n in ("act_dr6_lensing", PLANCK)])


@pytest.mark.network
@pytest.mark.slow
def test_act_lensing_with_the_cmb_gives_candls_own_number() -> None:
    """Slow for its files: 40 MB of derivatives of the normalisation."""
    fetched("act_dr6_lensing")
    fetched("candl_tests")
    # candl's test keeps to the fiducial CMB, where the corrections vanish; the files leave 5e-14 in them
    assert abs(self_check("act_dr6_lensing_cmb") or 0.0) < 1e-5
    like = load_likelihood("act_dr6_lensing_cmb")
    assert like.pairs == ("pp", "tt", "te", "ee")


@pytest.mark.network
@pytest.mark.parametrize("name", ["spt3g_2018_lensing", "spt3g_2018_lensing_cmb"])
def test_spt_lensing_gives_candls_own_numbers(name: str) -> None:
    """With a foreground template at the amplitudes of candl's tests; its value does enter."""
    fetched("spt3g_2018_lensing")
    fetched("candl_tests")
    assert abs(self_check(name) or 0.0) < 1e-11
    reference = reference_of(name)
    moved = {**reference, "nuisance": {"A_fg": reference["nuisance"]["A_fg"] + 0.5}}
    with pytest.raises(LikelihoodError, match="self-check failed"):
        check_reference(load_likelihood(name), moved)
    with pytest.raises(LikelihoodError, match="count the same planck PP multipoles 50-400"):
        refuse_double_counting([load_likelihood(n).info for n in (name, PLANCK)])


def toy_lensing(rng: np.random.Generator) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """A candl-format lensing set of three bins, l from 2 to 21."""
    ell = np.arange(2, 22.0)
    arrays = {
        "windows": rng.random((20, 3)),
        "data": rng.random(3),
        "cov": random_covariance(rng, 3),
        "response": rng.random((3, 20, 5)),
        "fiducial": rng.random(3),
    }

    def text(x: np.ndarray) -> bytes:
        return "\n".join(" ".join(f"{v:.17g}" for v in row) for row in np.atleast_2d(x)).encode()

    spec = {
        "band_power_file": "d.txt",
        "covariance_file": "c.txt",
        "window_functions_folder": "windows/",
        "spectra_info": [{"kk": 3}],
        "hartlap_correction": {"N_sims": 100},
        "data_model": [
            {
                "Module": "common_lensing.ResponseFunctionM",
                "M_matrices_folder": "m/",
                "Mmodes": ["kk", "TT"],
                "fiducial_correction_file": "f.txt",
            }
        ],
    }
    files = {
        "x.yaml": yaml.safe_dump(spec).encode(),
        "d.txt": text(arrays["data"][:, None]),
        "c.txt": text(arrays["cov"]),
        "f.txt": text(arrays["fiducial"][:, None]),
        "windows/kk_window_functions.txt": text(np.column_stack([ell, arrays["windows"]])),
        **{f"m/window_{b}.txt": text(np.column_stack([ell, arrays["response"][b]])) for b in range(3)},
    }
    return files, arrays


def test_convergence_windows_responses_and_hartlap_by_hand(rng: np.random.Generator) -> None:
    files, a = toy_lensing(rng)
    got = read_candl(files, "x.yaml")
    like = likelihood_of(got, info())
    tt, kk = rng.random(22), rng.random(22)
    model = a["windows"].T @ kk[2:] - a["fiducial"]
    model += a["response"][:, :, 4] @ kk[2:] + a["response"][:, :, 0] @ tt[2:]
    residual = model - a["data"]
    # Hartlap et al. 2007: the inverse of a covariance of n simulations is too large by (n - 1)/(n - p - 2)
    chi2 = residual @ np.linalg.solve(a["cov"], residual) * (100 - 3 - 2) / (100 - 1)
    spectra = Spectra({"tt": torch.from_numpy(tt)[None], "pp": torch.from_numpy(kk * 2 / np.pi)[None]})
    assert like.log_prob(spectra, {}).item() == pytest.approx(-0.5 * chi2, rel=1e-12)


def test_a_binned_template_adds_its_amplitude_times_itself(
    rng: np.random.Generator, emulator: LinearEmulator
) -> None:
    """By hand, through the reader, and through the folded posterior, where it is one more direction."""
    from cmbfit.likelihood import Posterior, Uniform
    from cmbfit.likelihood.compiled import compile_posterior

    files, _ = toy_lensing(rng)
    spec = yaml.safe_load(files["x.yaml"])
    step = {
        "Module": "common_lensing.BinnedTemplateForeground",
        "template_file": "top/t.txt",
        "amp_param": "A",
    }
    spec["data_model"].append(step)
    shape = np.array([0.3, -0.2, 0.1])
    below = {f"folder/{name}": raw for name, raw in files.items()} | {
        "folder/x.yaml": yaml.safe_dump(spec).encode(),
        "top/t.txt": b"0 0.3\n1 -0.2\n2 0.1",
    }
    got = read_candl(below, "folder/x.yaml")
    assert got.parameters == ("A",)
    prior = {"A": Uniform(-1.0, 3.0)}
    # windows and data of the size of the sky's pp, so that the model matters beside the template
    (block,) = blocks_of(got)
    leakage = {source: 1e-4 * w.numpy() for source, w in block.leakage.items()}
    blocks = [Block("pp", "pp", 1e7 * block.window.numpy(), leakage)]
    templates = {"A": shape}
    read = likelihood_of(got, info(nuisance=prior))
    np.testing.assert_allclose(read.templates[0].template, shape)
    about = info(nuisance=prior, pairs={"pp": (2, 21)})
    like = GaussianBandpowers(about, blocks, got.data, got.covariance, templates=templates)
    ell = np.arange(22)
    dl = {p: torch.from_numpy(rng.random((1, 22)) * (ell >= 2)) for p in ("tt", "pp")}
    zero, two = ({"A": one(value=v)} for v in (0.0, 2.0))
    added = (like.bandpowers(Spectra(dl), two) - like.bandpowers(Spectra(dl), zero))[0]
    np.testing.assert_allclose(added, 2 * shape, rtol=0, atol=1e-7)  # rounding of a model of 1e8
    box = {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    posterior = Posterior(emulator, [like], box)
    compiled = compile_posterior(posterior)
    centre = [(low + high) / 2 for low, high in emulator.box.values()]
    theta = torch.tensor([[*centre, 0.0], [*centre, 1.7], [*centre, -0.9]], dtype=torch.float64)
    torch.testing.assert_close(compiled.log_prob(theta), posterior.log_prob(theta), rtol=1e-10, atol=0)
    assert (compiled.log_prob(theta)[1:] - compiled.log_prob(theta)[0]).abs().min() > 0.01
    with pytest.raises(DataError, match=r"t.txt: expected the bin and its value in 3 rows"):
        read_candl({**below, "top/t.txt": b"0 0.3\n1 -0.2"}, "folder/x.yaml")
    with pytest.raises(LikelihoodError, match="without a prior"):
        GaussianBandpowers(info(), blocks, got.data, got.covariance, templates=templates)


def drop(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {k: v for k, v in files.items() if k != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("m/window_1.txt"), "m/window_1.txt: named by"),
        (lambda f: f | {"m/window_1.txt": b"2 1 1\n3 1 1"}, "m/window_1.txt: expected l and 5 columns"),
        (lambda f: f | {"f.txt": b"1\n2"}, "f.txt: expected 3 numbers"),
        (lambda f: f | {"d.txt": b"1\nnan\n2"}, "d.txt: row 2 holds a number that is not finite"),
        (lambda f: f | {"d.txt": b"1\n2"}, "d.txt: expected the 3 bandpowers"),
    ],
)
def test_damaged_lensing_files_are_named(
    rng: np.random.Generator, change: Callable[[dict[str, bytes]], dict[str, bytes]], message: str
) -> None:
    files, _ = toy_lensing(rng)
    with pytest.raises(DataError, match=message):
        read_candl(change(files), "x.yaml")


@pytest.mark.parametrize("with_cmb", [True, False])
def test_other_planck_lensing_releases_have_the_same_layout(rng: np.random.Generator, with_cmb: bool) -> None:
    """The aggressive set has 14 bins, the CMB-marginalised one responses of PP alone (files of the same layout)."""
    n, sources = 14, 4 if with_cmb else 1

    def text(*columns: np.ndarray) -> bytes:
        return (
            "# head\n" + "\n".join(" ".join(f"{v:.17g}" for v in r) for r in np.column_stack(columns))
        ).encode()

    ell = np.arange(30.0)
    response = rng.random((n, 30, sources))
    files = {
        "bandpowers.dat": text(*rng.random((7, n))),
        "cov.dat": text(*random_covariance(rng, n)),
        "lensing_fiducial_correction.dat": text(np.arange(1, n + 1), rng.random(n)),
        **{f"window/window{b + 1}.dat": text(ell[8:12] + b, np.ones(4)) for b in range(n)},
        **{f"lens_delta_window/window{b + 1}.dat": text(ell, *response[b].T) for b in range(n)},
    }
    got = planck_lensing(files, n, with_cmb=with_cmb)
    assert [s for _, s in got.leakage] == (["tt", "ee", "te", "pp"] if with_cmb else ["pp"])
    np.testing.assert_array_equal(got.leakage["pp", "pp"], response[:, :, -1])
    np.testing.assert_array_equal(np.flatnonzero(got.windows["pp"][3]), np.arange(11, 15))
    with pytest.raises(DataError, match=r"cov.dat: expected shape \(9, 9\), found \(14, 14\)"):
        planck_lensing({**files, "bandpowers.dat": text(*rng.random((7, 9)))}, 9, with_cmb=with_cmb)
    gap = files["lens_delta_window/window2.dat"].replace(b"\n7 ", b"\n8 ")
    with pytest.raises(DataError, match=r"window2.dat: row 9: expected l > 8, found 8"):
        planck_lensing({**files, "lens_delta_window/window2.dat": gap}, n, with_cmb=with_cmb)
