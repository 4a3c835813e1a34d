"""C_l = W P(k) against CAMB's own spectra, and what the compressed and expanded forms lose."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import camb
import numpy as np
import pytest
import torch
from scipy.special import hankel2

from cmbfit.errors import (
    ChecksumError,
    ConfigError,
    DataError,
    OutsideBoxError,
    ParameterError,
    SpectrumError,
)
from cmbfit.theory.camb_code import CambSettings, camb_parameters
from cmbfit.theory.transfer.camb_matrices import TransferSettings, camb_transfer
from cmbfit.theory.transfer.expansion import (
    ExpansionArrays,
    TransferExpansion,
    coefficients,
    monomials,
    stencil,
)
from cmbfit.theory.transfer.nodes import NodeSettings, interpolate, node_grid
from cmbfit.theory.transfer.operator import (
    TransferOperator,
    combined,
    compressed_matrices,
    full_matrices,
)
from cmbfit.theory.transfer.staircase import Staircase
from cmbfit.theory.transfer.store import read_transfer, write_transfer

FIDUCIAL = {"ombh2": 0.02237, "omch2": 0.12, "H0": 67.36, "tau": 0.0544}
PIVOT = 0.05
CAMB = CambSettings(lmax=100, lens_potential_accuracy=1, recfast_approximation="cosmorec")
SMALL = TransferSettings(CAMB, l_sampling=1, k_sampling=1)

Shape = Callable[[np.ndarray], np.ndarray]


def power_law(k: np.ndarray) -> np.ndarray:
    return np.exp(3.044) * 1e-10 * (k / PIVOT) ** (0.9649 - 1)


def kinetic(x: np.ndarray) -> np.ndarray:
    """Contaldi et al. 2003 (astro-ph/0303636): kinetic domination before inflation."""
    out = np.ones_like(x)
    x = x[low := x < 300]  # within 1e-5 of one beyond
    c = np.exp(-1j * x) * (hankel2(0, x / 2) - (1 / x + 1j) * hankel2(1, x / 2))
    d = np.exp(1j * x) * (hankel2(0, x / 2) - (1 / x - 1j) * hankel2(1, x / 2))
    out[low] = np.pi / 16 * x * np.abs(c - d) ** 2
    return out


def log_oscillation(w: float) -> Shape:
    return lambda k: 1 + 0.03 * np.cos(w * np.log(k / PIVOT))


def linear_oscillation(w: float) -> Shape:
    return lambda k: 1 + 0.03 * np.cos(w * k / PIVOT)


SHAPES: dict[str, Shape] = {
    "power law": np.ones_like,
    "cut-off": lambda k: 1 - np.exp(-((k / 5e-4) ** 3.35)),
    "kinetic": lambda k: kinetic(k / 5e-4),
    "log": log_oscillation(10),
    "linear": linear_oscillation(30),
}


def spectrum(operator: TransferOperator, shape: Shape) -> dict[str, np.ndarray]:
    k = operator.k.numpy()
    got = operator.at_ell(torch.from_numpy(power_law(k) * shape(k))[None])
    return {p: x[0].numpy() for p, x in got.items()}


@pytest.fixture(scope="module")
def operator() -> TransferOperator:
    return TransferOperator.from_camb(FIDUCIAL, SMALL)


@pytest.fixture(scope="module")
def camb_results() -> camb.CAMBdata:
    """CAMB with the same sampling, transfer functions ready for any primordial spectrum."""
    pars = camb_parameters(CAMB, **FIDUCIAL)
    pars.set_for_lmax(
        CAMB.lmax, lens_potential_accuracy=CAMB.lens_potential_accuracy
    )  # no more than the matrices
    return camb.get_transfer_functions(pars)


@pytest.mark.parametrize("name", list(SHAPES))
def test_the_product_is_camb_s_unlensed_spectrum(
    name: str, operator: TransferOperator, camb_results: camb.CAMBdata
) -> None:
    """Same multipoles, same P(k): to rounding for a power law, to 1e-9 for a table that CAMB splines."""
    shape = SHAPES[name]
    if name == "power law":
        primordial = camb.InitialPowerLaw(As=np.exp(3.044) * 1e-10, ns=0.9649)
    else:
        k = np.geomspace(1e-6, 20, 60_000)
        primordial = camb.initialpower.SplinedInitialPower(ks=k, PK=power_law(k) * shape(k))
        primordial.effective_ns_for_nonlinear = 0.9649
    camb_results.power_spectra_from_transfer(primordial, silent=True)
    expected = camb_results.get_unlensed_scalar_cls(CMB_unit="muK", lmax=operator.lmax)
    ell = operator.ell.numpy()
    got = spectrum(operator, shape)
    for column, pair in ((0, "tt"), (1, "ee"), (3, "te")):
        scale = np.abs(expected[ell, column])
        if pair == "te":
            scale = np.sqrt(expected[ell, 0] * expected[ell, 1])
        error = np.abs(got[pair] - expected[ell, column]) / scale
        assert error.max() < (1e-12 if name == "power law" else 1e-9), pair
    potential = camb_results.get_lens_potential_cls(lmax=operator.lmax)[ell, 0]
    np.testing.assert_allclose(got["pp"], potential, rtol=1e-9)


def test_tensors_are_camb_s_tensors() -> None:
    operator = TransferOperator.from_camb(FIDUCIAL, replace(SMALL, kind="tensor"))
    pars = camb_parameters(CAMB, **FIDUCIAL, logA=3.044, r=0.01)
    pars.WantScalars, pars.max_l_tensor = False, CAMB.lmax
    expected = camb.get_results(pars).get_tensor_cls(CMB_unit="muK", lmax=CAMB.lmax)
    # CAMB's single-field tilt and running at second order
    tilt, running = -0.01 / 8 * (2 - 0.9649 - 0.01 / 8), 0.01 / 8 * (0.01 / 8 + 0.9649 - 1)
    x = torch.log(operator.k / PIVOT)
    power = 0.01 * np.exp(3.044) * 1e-10 * torch.exp(tilt * x + running / 2 * x**2)
    got = operator.at_ell(power[None])
    ell = operator.ell.numpy()
    keep = ell <= 80
    for column, pair in enumerate(("tt", "ee", "bb", "te")):
        scale = np.sqrt(expected[ell, 0] * expected[ell, 1]) if pair == "te" else expected[ell, column]
        error = np.abs(got[pair][0].numpy() - expected[ell, column]) / scale
        assert error[keep].max() < 1e-9, pair
    # CAMB 2.0.5 at its own default sampling of k, uK^2
    for l, bb in ((2, 1.5017e-4), (5, 9.404e-5), (10, 3.060e-5)):
        assert got["bb"][0, l - 2].item() == pytest.approx(bb, rel=2e-3)


def test_nodes_lose_little(operator: TransferOperator) -> None:
    """A fifth of the wavenumbers: 1e-4 of D_l up to the frequencies asked for, where CAMB's own sampling carries them.

    At l < 10 CAMB's wavenumbers are too few for fast logarithmic oscillations, whatever is done with them.
    """
    transfer = camb_transfer(replace(SMALL, k_sampling=2), FIDUCIAL)
    fine = TransferOperator(transfer.q, transfer.ell, full_matrices(transfer), {})
    nodes = node_grid(transfer.q, NodeSettings(60, 60))
    few = TransferOperator(nodes, transfer.ell, compressed_matrices(transfer, nodes, transfer.distance), {})
    assert len(few.k) < len(fine.k) / 1.5
    for shape in (*SHAPES.values(), linear_oscillation(60)):
        full, got = spectrum(fine, shape), spectrum(few, shape)
        for pair in ("tt", "ee"):
            np.testing.assert_allclose(got[pair], full[pair], rtol=1e-4)
    full, got = spectrum(fine, log_oscillation(60)), spectrum(few, log_oscillation(60))
    high = fine.ell.numpy() >= 20
    np.testing.assert_allclose(got["tt"][high], full["tt"][high], rtol=1e-4)


def test_single_precision_and_batches(operator: TransferOperator) -> None:
    single = operator.to("cpu", torch.float32)
    assert single.matrices["tt"].dtype == torch.float32
    k = operator.k.numpy()
    batch = torch.from_numpy(np.array([power_law(k) * f(k) for f in SHAPES.values()]))
    double = operator.at_ell(batch)
    for pair in ("tt", "ee", "pp"):
        torch.testing.assert_close(single.at_ell(batch)[pair], double[pair], rtol=5e-6, atol=0)
    torch.testing.assert_close(operator.at_ell(batch[2:3])["tt"][0], double["tt"][2], rtol=1e-13, atol=0)


def test_a_sampled_operator_says_so(operator: TransferOperator) -> None:
    with pytest.raises(SpectrumError, match="l_sampling = 50"):
        operator.unlensed(torch.ones(1, len(operator.k), dtype=torch.float64))
    with pytest.raises(SpectrumError, match="expected shape"):
        operator.at_ell(torch.ones(1, 7, dtype=torch.float64))
    with pytest.raises(ConfigError, match="kind"):
        TransferSettings(CAMB, kind="vector")
    with pytest.raises(ParameterError, match="flat"):
        TransferOperator.from_camb({**FIDUCIAL, "omk": 0.01}, SMALL)


def test_scalars_and_tensors_add_up() -> None:
    scalar = {"tt": torch.ones(1, 5), "pp": torch.ones(1, 5)}
    tensor = {"tt": torch.ones(1, 3), "bb": torch.ones(1, 3)}
    total = combined([scalar, tensor])
    assert total["tt"].tolist() == [[2, 2, 2, 1, 1]]
    assert total["bb"].tolist() == [[1, 1, 1, 0, 0]]
    assert set(total) == {"tt", "pp", "bb"}


def test_interpolation_between_nodes() -> None:
    q = np.arange(2e-5, 0.2, 2e-5)
    settings = NodeSettings(100, 100)
    nodes = torch.from_numpy(node_grid(q, settings))
    assert (nodes.diff() > 0).all()
    k = torch.from_numpy(q)[None] * torch.tensor([[0.99], [1.0], [1.02]], dtype=torch.float64)
    for shape in (linear_oscillation(100), log_oscillation(100)):
        values = torch.from_numpy(shape(nodes.numpy()))[None].repeat(3, 1)
        error = interpolate(nodes, values, k) - torch.from_numpy(shape(k.numpy()))
        # ten nodes in the shortest period; below 4e-3 q itself is coarser than that, and no node helps
        assert (error.abs() * (k > 4e-3)).max() < 0.03 * 2e-4


def test_a_polynomial_is_recovered() -> None:
    rng = np.random.default_rng(7)
    truth = rng.normal(size=(25, 3))
    points = torch.from_numpy(stencil())
    design = torch.cat([torch.ones(25, 1, dtype=torch.float64), monomials(points)], 1).numpy()
    np.testing.assert_allclose(coefficients(design @ truth), truth, atol=1e-11)


@pytest.fixture(scope="module")
def toy_expansion() -> TransferExpansion:
    """Random matrices in the real format."""
    rng = np.random.default_rng(3)
    k = np.linspace(1e-4, 0.1, 60)
    arrays = ExpansionArrays(
        k,
        np.arange(2, 41),
        np.array([2, 3, 4, 6, 9, 13, 20, 30, 40]),
        np.array([0.0224, 0.12, 1.041, 0.054]),
        np.array([3e-4, 2.7e-3, 6e-4, 0.015]),
        np.concatenate([[9.54], 1e-3 * rng.normal(size=24)]),
        {p: rng.random((39, 60)) for p in ("tt", "pp")},
        {p: 0.01 * rng.normal(size=(24, 9, 60)) for p in ("tt", "pp")},
    )
    return TransferExpansion(arrays, {"code": "toy"})


def test_the_expansion_is_differentiable(toy_expansion: TransferExpansion) -> None:
    centre = torch.from_numpy(toy_expansion.arrays.centre)
    step = 0.3 * torch.from_numpy(toy_expansion.arrays.steps)
    power = 1 + toy_expansion.k[None] * 3

    def total(x: torch.Tensor) -> torch.Tensor:
        return toy_expansion.unlensed((centre + step * x)[None], power)["tt"].sum()

    assert torch.autograd.gradcheck(total, torch.full((4,), 0.2, dtype=torch.float64, requires_grad=True))


def test_functionals_are_pulled_back(toy_expansion: TransferExpansion) -> None:
    """Rows on the spectra, and the same rows on P(k)."""
    rng = np.random.default_rng(5)
    rows = {p: torch.from_numpy(rng.normal(size=(3, 41))) for p in ("tt", "pp")}
    centre, steps = (torch.from_numpy(getattr(toy_expansion.arrays, x)) for x in ("centre", "steps"))
    background = centre + steps * torch.from_numpy(rng.uniform(-1, 1, (2, 4)))
    power = torch.from_numpy(rng.random((2, 60)))
    dl = toy_expansion.undamped(background, power)
    wanted = sum(dl[p] @ rows[p].T for p in rows)
    base, corrections = toy_expansion.pull_back(rows)
    terms = toy_expansion.terms(background)
    got = power @ base.T + torch.einsum("bt,trk,bk->br", terms, corrections, power)
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


def test_the_centre_is_an_operator(toy_expansion: TransferExpansion) -> None:
    power = torch.rand(2, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    operator = toy_expansion.at_centre()
    at_centre = torch.from_numpy(toy_expansion.arrays.centre)[None].repeat(2, 1)
    wanted = toy_expansion.unlensed(at_centre, power)
    for pair, got in operator.unlensed(power).items():
        torch.testing.assert_close(got, wanted[pair], rtol=1e-10, atol=1e-12)


def test_the_expansion_refuses_what_it_cannot_do(toy_expansion: TransferExpansion) -> None:
    far = torch.from_numpy(toy_expansion.arrays.centre)[None].clone()
    power = torch.ones(1, 60, dtype=torch.float64)
    with pytest.raises(SpectrumError, match="expected shape"):
        toy_expansion.unlensed(far, power[:, :3])
    far[0, 1] = 0.2
    with pytest.raises(OutsideBoxError, match="omch2"):
        toy_expansion.unlensed(far, power)


def test_products_on_disk(
    tmp_path: Path, operator: TransferOperator, toy_expansion: TransferExpansion
) -> None:
    for name, product in (("operator", operator), ("expansion", toy_expansion)):
        write_transfer(tmp_path / name, product)
        back = read_transfer(tmp_path / name)
        assert type(back) is type(product)
        settings = dict(back.settings)
        assert len(settings.pop("arrays_sha256")) == 64
        assert settings == json.loads(json.dumps(product.settings))
        assert torch.equal(back.k, product.k)
        arrays = tmp_path / name / "arrays.safetensors"
        content = bytearray(arrays.read_bytes())
        content[-5] ^= 1
        arrays.write_bytes(content)
        with pytest.raises(ChecksumError, match="altered"):
            read_transfer(tmp_path / name)
        arrays.unlink()
        with pytest.raises(DataError, match="missing"):
            read_transfer(tmp_path / name)
        manifest = tmp_path / name / "manifest.json"
        manifest.write_text(json.dumps({"format": "other"}))
        with pytest.raises(DataError, match="expected format"):
            read_transfer(tmp_path / name)


def test_a_manifest_of_another_product_is_refused(tmp_path: Path, operator: TransferOperator) -> None:
    write_transfer(tmp_path, operator)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["reference"]["tt"][0] *= 1.001
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="does not reproduce"):
        read_transfer(tmp_path)


REFERENCE = {  # D_l [uK^2] at l = 2, 10, 30, 220, 1000: CAMB 2.0.5, unlensed, computed apart from this package
    "power law": {
        "tt": (1020.95, 818.216, 1055.23, 5739.24, 1026.31),
        "ee": (0.0310525, 0.00307519, 0.0212482, 0.853027, 43.9434),
        "te": (2.63263, 0.85106, 1.88187, 13.3793, -24.7494),
    },
    "cut-off": {
        "tt": (445.754, 809.334, 1055.23),
        "ee": (0.00613605, 0.00306193),
        "te": (-0.0705858, 0.840212),
    },
    "kinetic": {
        "tt": (419.729, 775.917, 1047.8, 5738.38, 1026.31),
        "ee": (0.00500974, 0.0033535, 0.0206488),
        "te": (0.0886778, 0.82028, 1.81309),
    },
    "log": {"tt": (1018.87, 812.047, 1056.6, 5722.17, 1031.93)},
    "linear": {"tt": (1046.64, 832.056, 1047.76, 5672.14, 1027.08)},
}


@pytest.mark.slow
def test_reference_spectra() -> None:
    """To 1e-4 of TT, EE and sqrt(TT EE).

    Twice that for EE at l <= 10, and for TT at l = 1000: there CAMB's integrals at k_sampling 2 and 4 differ by
    3e-4, and the reference lies between them (+2.2e-4 and -1.0e-4).
    """
    settings = TransferSettings(replace(CAMB, lmax=1000), l_sampling=50, k_sampling=4)
    operator = TransferOperator.from_camb(FIDUCIAL, settings)
    for name, pairs in REFERENCE.items():
        got = spectrum(operator, SHAPES[name])
        for pair, numbers in pairs.items():
            for l, number in zip((2, 10, 30, 220, 1000), numbers, strict=False):
                scale = np.sqrt(got["tt"][l - 2] * got["ee"][l - 2]) if pair == "te" else number
                loose = (pair, l) in {("ee", 2), ("ee", 10), ("tt", 1000)}
                assert abs(got[pair][l - 2] - number) < (2e-4 if loose else 1e-4) * scale, (name, pair, l)


def test_a_product_that_leaves_out_zeros_is_the_product() -> None:
    """Numpy's dense product; zeros in the middle, at both ends, in every row, and none."""
    rng = np.random.default_rng(3)
    whole = rng.normal(size=(2, 700, 3, 40))
    whole[0, 300:, :, :25] = 0
    whole[1, :, :, 30:] = 0
    whole[1, 650:] = 0
    whole[0, 10, :, 5:20] = 0
    x = rng.normal(size=(4, 40))
    stairs = Staircase(torch.from_numpy(whole))
    np.testing.assert_allclose(stairs(torch.from_numpy(x)), np.einsum("plnk,bk->bpln", whole, x), atol=1e-13)
