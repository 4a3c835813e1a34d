"""Emulator bundles: written and read back exactly; refused when anything is wrong with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cmbfit.errors import BundleError, CmbfitError
from cmbfit.io import sha256_file
from cmbfit.theory.emulator.accuracy import measure
from cmbfit.theory.emulator.bundle import load_emulator, write_bundle
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.manifest import bundle_folder, shipped_bundles
from cmbfit.theory.emulator.train import fit_emulator
from tests.theory.synthetic import SETTINGS, Universe


@pytest.fixture(scope="module")
def original() -> tuple[LinearEmulator, Universe]:
    universe = Universe(np.random.default_rng(6))
    arrays = fit_emulator(universe.training_set(60), SETTINGS, LCDM_BOX)
    return LinearEmulator(arrays, {"code": "synthetic"}), universe


@pytest.fixture(scope="module")
def written(original: tuple[LinearEmulator, Universe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    emulator, universe = original
    theta = universe.theta(5)
    folder = tmp_path_factory.mktemp("bundle") / "toy"
    write_bundle(
        folder, emulator.arrays, emulator.settings, measure(emulator, theta, *universe.spectra(theta))
    )
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "toy"))


def test_round_trip_is_exact(original: tuple[LinearEmulator, Universe], bundle: Path) -> None:
    emulator, universe = original
    loaded = load_emulator(bundle)
    theta = torch.from_numpy(universe.theta(7))
    before, after = emulator.spectra(theta), loaded.spectra(theta)
    for pair, x in before.dl.items():
        assert torch.equal(x, after.dl[pair])
    for name, x in before.parameters.items():
        assert torch.equal(x, after.parameters[name])
    assert loaded.box == emulator.box
    assert loaded.settings["code"] == "synthetic"
    assert sorted(p.name for p in bundle.iterdir()) == ["arrays.safetensors", "manifest.json"]


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return apply


def damage_bytes(folder: Path) -> None:
    path = folder / "arrays.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 0x01
    path.write_bytes(raw)


def rewrite_arrays(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[Path], None]:
    """Another array file with a correct checksum: only the reference predictions can tell."""

    def apply(folder: Path) -> None:
        path = folder / "arrays.safetensors"
        arrays = load_file(path)
        change(arrays)
        save_file(arrays, path)
        edit(lambda m: m.update(arrays_sha256=sha256_file(path)))(folder)

    return apply


def scale(arrays: dict[str, np.ndarray], name: str) -> None:
    arrays[name] = arrays[name] * (1 + 1e-6)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_bytes, "altered"),
        (lambda f: (f / "arrays.safetensors").unlink(), "missing"),
        (edit(lambda m: m.update(version=4)), "expected format .* version 1, 2, 3, found .* version 4"),
        (edit(lambda m: m.update(format="cosmopower")), "found cosmopower"),
        (edit(lambda m: m.pop("box")), "not a complete bundle"),
        (edit(lambda m: m.pop("reference")), "not a complete bundle"),
        (edit(lambda m: m.pop("arrays_sha256")), "not a complete bundle"),
        (edit(lambda m: m.update(lmax=70)), "not a complete bundle"),
        (
            edit(lambda m: m["reference"]["dl"]["tt"][3].__setitem__(2, 1.0)),
            "tt differs from the bundle's own",
        ),
        (edit(lambda m: m["reference"]["dl"]["pp"][0].__setitem__(0, -1.0)), "pp differs"),
        # a changed box moves every point in scaled coordinates
        (edit(lambda m: m["box"].update(tau=[0.02, 0.16])), "differs from the bundle's own"),
        (rewrite_arrays(lambda a: a.pop("lowl_ee")), "not a complete bundle"),
        (rewrite_arrays(lambda a: scale(a, "cmb.scale")), "differs from the bundle's own"),
        (rewrite_arrays(lambda a: scale(a, "lensing.mean")), "pp differs"),
        (rewrite_arrays(lambda a: scale(a, "bb.mean")), "bb differs"),
        (rewrite_arrays(lambda a: a.pop("bb.basis")), "not a complete bundle"),
        (edit(lambda m: m.update(coordinates="zre")), "differs from the bundle's own"),
        (edit(lambda m: m.update(coordinates="z")), "not a complete bundle"),
        (rewrite_arrays(lambda a: a.update(degrees=a["degrees"][:-1])), "not a complete bundle"),
    ],
)
def test_a_damaged_bundle_is_refused(bundle: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(bundle)
    with pytest.raises(BundleError, match=message):
        load_emulator(bundle)


def test_damaged_derived_parameters_are_refused(bundle: Path) -> None:
    rewrite_arrays(lambda a: a.update(derived=a["derived"] * 1.001))(bundle)
    with pytest.raises(BundleError, match="H0"):
        load_emulator(bundle)


@pytest.mark.parametrize("text", ['{"format": ', '{"format": NaN}'])
def test_a_manifest_that_is_no_json_is_refused(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(CmbfitError, match=r"manifest\.json: expected JSON"):
        load_emulator(bundle)


def test_an_unknown_name_is_refused_with_what_there_is() -> None:
    with pytest.raises(BundleError, match="did you mean 'lcdm_planck2018'"):
        bundle_folder("lcdm_planck2081")
    assert "lcdm_planck2018" in shipped_bundles()
