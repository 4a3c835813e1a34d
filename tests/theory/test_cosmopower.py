"""CosmoPower networks against CosmoPower-JAX itself, and the refusal to run or guess anything."""

from __future__ import annotations

import dataclasses
import itertools
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import BundleError, OutsideBoxError
from cmbfit.theory.base import Theory
from cmbfit.theory.cosmopower import (
    CosmoPowerArrays,
    CosmoPowerTheory,
    from_cosmopower_jax,
    read_cosmopower,
    write_cosmopower,
)
from cmbfit.units import T_CMB_UK

BOX = {
    "omega_b": (0.01875, 0.02625),
    "omega_cdm": (0.05, 0.255),
    "h": (0.64, 0.82),
    "tau_reio": (0.04, 0.12),
    "n_s": (0.84, 1.1),
    "ln10^{10}A_s": (1.61, 3.91),
}


CARD = {"code": "camb 1.3", "mnu": 0.06, "nonlinear": "mead2016"}


def network(rng: np.random.Generator, n_out: int = 9, *, pca: bool = False) -> CosmoPowerArrays:
    sizes = [6, 8, 8, 4 if pca else n_out]
    ell = np.arange(2, n_out + 2)
    components = (rng.normal(size=n_out), 1 + rng.random(n_out), rng.normal(size=(4, n_out)))
    return CosmoPowerArrays(
        parameters=tuple(BOX),
        ell=ell,
        weights=tuple(rng.normal(size=s) for s in itertools.pairwise(sizes)),
        biases=tuple(rng.normal(size=n) for n in sizes[1:]),
        activations=tuple((rng.normal(size=n), rng.normal(size=n)) for n in sizes[1:-1]),
        input_mean=rng.normal(size=6),
        input_std=1 + rng.random(6),
        output_mean=rng.normal(size=sizes[-1]) - 10,
        output_std=rng.random(sizes[-1]),
        pca=components if pca else None,
        log=not pca,
    )


@pytest.fixture
def file(tmp_path: Path, rng: np.random.Generator) -> Path:
    write_cosmopower(tmp_path / "tt.npz", network(rng))
    return tmp_path / "tt.npz"


POINT = torch.tensor([[0.0224, 0.12, 0.67, 0.055, 0.965, 3.045]], dtype=torch.float64)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("pair", ["tt", "te", "ee"])
def test_predictions_equal_those_of_cosmopower_jax(pair: str, tmp_path: Path) -> None:
    """Its own shipped networks. It computes in float32: 1e-7 of log10 C_l ~ -10, a few times over four layers."""
    cosmopower_jax = pytest.importorskip(
        "cosmopower_jax.cosmopower_jax", reason="the optional dependency cosmopower-jax"
    )
    model = cosmopower_jax.CosmoPowerJAX(probe=f"cmb_{pair}", verbose=False)
    write_cosmopower(tmp_path / f"{pair}.npz", from_cosmopower_jax(model))
    theory = CosmoPowerTheory({pair: tmp_path / f"{pair}.npz"}, BOX)
    assert isinstance(theory, Theory)
    theta = POINT.repeat(3, 1) * torch.tensor([[1.0], [1.02], [0.98]], dtype=torch.float64)
    columns = {name: theta[:, i].numpy() for i, name in enumerate(model.parameters)}
    expected = np.asarray(model.predict(columns), dtype=float)
    ell = theory.ell
    expected *= ell * (ell + 1) / (2 * np.pi) * T_CMB_UK**2
    got = theory.spectra(theta).dl[pair][:, ell].numpy()
    assert np.abs(got - expected).max() < 2e-5 * np.abs(expected).max()
    if pair != "te":
        np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_one_layer_by_hand(tmp_path: Path) -> None:
    """Two layers of one unit: the formula of the paper, written out."""
    arrays = CosmoPowerArrays(
        parameters=("tau_reio",),
        ell=np.array([2]),
        weights=(np.array([[2.0]]), np.array([[3.0]])),
        biases=(np.array([0.5]), np.array([-1.0])),
        activations=((np.array([0.7]), np.array([0.2])),),
        input_mean=np.array([0.05]),
        input_std=np.array([0.01]),
        output_mean=np.array([-9.0]),
        output_std=np.array([0.1]),
        pca=None,
        log=True,
    )
    write_cosmopower(tmp_path / "ee.npz", arrays)
    theory = CosmoPowerTheory({"ee": tmp_path / "ee.npz"}, {"tau_reio": (0.0, 1.0)}, CARD)
    y = 2 * (0.06 - 0.05) / 0.01 + 0.5
    hidden = (0.2 + (1 - 0.2) / (1 + np.exp(-0.7 * y))) * y
    expected = 10 ** ((3 * hidden - 1) * 0.1 - 9) * 6 / (2 * np.pi) * 2.7255e6**2
    got = theory.spectra(torch.tensor([[0.06]], dtype=torch.float64)).dl["ee"]
    assert got[0, 2].item() == pytest.approx(expected, rel=1e-13)
    assert got[0, :2].tolist() == [0, 0]


def test_components_are_decoded(tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = network(rng, pca=True)
    write_cosmopower(tmp_path / "te.npz", arrays)
    back = read_cosmopower(tmp_path / "te.npz")
    assert back.pca is not None
    np.testing.assert_array_equal(back.pca[2], arrays.pca[2])  # type: ignore[index]
    assert torch.isfinite(
        CosmoPowerTheory({"te": tmp_path / "te.npz"}, BOX, CARD).spectra(POINT).dl["te"]
    ).all()


def test_without_a_declared_box_it_is_refused(file: Path) -> None:
    with pytest.raises(BundleError, match=r"declare a box for .*tau"):
        CosmoPowerTheory({"tt": file}, {k: x for k, x in BOX.items() if k != "tau_reio"}, CARD)
    theory = CosmoPowerTheory({"tt": file}, BOX, CARD)
    outside = POINT.clone()
    outside[0, 3] = 0.2
    with pytest.raises(OutsideBoxError, match=r"tau = 0\.2"):
        theory.spectra(outside)


def test_pickles_are_refused_without_being_opened(tmp_path: Path, file: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    np.savez(tmp_path / "bomb.npz", arr_0=np.array({"W_0": Bomb()}, dtype=object))
    with pytest.raises(BundleError, match="pickled objects, which are refused"):
        read_cosmopower(tmp_path / "bomb.npz")
    (tmp_path / "cmb.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"expected an \.npz file; pickles"):
        read_cosmopower(tmp_path / "cmb.pkl")
    assert not (tmp_path / "ran").exists()


def test_the_networks_shipped_upstream_are_pickles_and_refused() -> None:
    models = pytest.importorskip(
        "cosmopower_jax.trained_models", reason="the optional dependency cosmopower-jax"
    )
    path = Path(str(resources.files(models))) / "tf_cmb_template.npz"
    with pytest.raises(BundleError, match="write_cosmopower"):
        read_cosmopower(path)


def test_damaged_files_are_refused(tmp_path: Path, file: Path, rng: np.random.Generator) -> None:
    raw = file.read_bytes()
    (tmp_path / "half.npz").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BundleError, match=r"half\.npz"):
        read_cosmopower(tmp_path / "half.npz")
    with np.load(file) as f:
        arrays = {k: f[k] for k in f.files if k != "b_1"}
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(BundleError, match="no array 'b_1'"):
        read_cosmopower(tmp_path / "less.npz")
    wrong = network(rng)
    write_cosmopower(
        tmp_path / "shape.npz", dataclasses.replace(wrong, weights=(wrong.weights[1], *wrong.weights[1:]))
    )
    with pytest.raises(BundleError, match="W_0 has shape"):
        read_cosmopower(tmp_path / "shape.npz")
    write_cosmopower(tmp_path / "ells.npz", network(rng, 8))
    with pytest.raises(BundleError, match="other parameters or multipoles"):
        CosmoPowerTheory({"tt": file, "ee": tmp_path / "ells.npz"}, BOX, CARD)


def test_networks_without_a_card_are_warned_of_and_their_lensing_refused(file: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="what they were trained on"):
        CosmoPowerTheory({"tt": file}, BOX)
    with pytest.raises(BundleError, match="linear"):
        CosmoPowerTheory({"pp": file}, BOX)
    with pytest.raises(BundleError, match="does not say nonlinear"):
        CosmoPowerTheory({"pp": file}, BOX, {"code": "camb", "mnu": 0.0})
    theory = CosmoPowerTheory({"pp": file}, BOX, CARD)
    assert theory.settings["declared_card"] == CARD
