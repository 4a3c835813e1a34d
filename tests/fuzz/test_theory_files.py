"""Emulator bundles, CosmoPower networks, training sets, operators and text spectra."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from cmbfit.io import sha256_file
from cmbfit.theory.cosmopower import CosmoPowerTheory, write_cosmopower
from cmbfit.theory.emulator.accuracy import measure
from cmbfit.theory.emulator.bundle import load_emulator, write_bundle
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import fit_emulator
from cmbfit.theory.emulator.trainingset import read_training_set, write_chunk
from cmbfit.theory.textfile import read_spectrum
from tests.fuzz.damage import damaged, damaged_arrays, damaged_tree
from tests.fuzz.judge import judge
from tests.theory.synthetic import SETTINGS, Universe
from tests.theory.test_cosmopower import BOX, CARD, network


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    universe = Universe(np.random.default_rng(6))
    emulator = LinearEmulator(
        fit_emulator(universe.training_set(60), SETTINGS, LCDM_BOX), {"code": "synthetic"}
    )
    theta = universe.theta(5)
    folder = tmp_path_factory.mktemp("bundle") / "good"
    errors = measure(emulator, theta, *universe.spectra(theta))
    write_bundle(folder, emulator.arrays, emulator.settings, errors)
    load_emulator(folder)
    return folder


@given(st.data())
def test_bundle(bundle: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Manifest or arrays, with a sha256 that fits: the damage is found behind the checksum."""
    folder = Path(shutil.copytree(bundle, tmp_path / "x", dirs_exist_ok=True))
    manifest: Any = json.loads((bundle / "manifest.json").read_text())
    match data.draw(st.sampled_from(["manifest", "text", "arrays", "bytes"])):
        case "manifest":
            manifest = data.draw(damaged_tree(manifest))
        case "arrays":
            arrays = data.draw(damaged_arrays(load_file(bundle / "arrays.safetensors")))
            arrays = {k: a for k, a in arrays.items() if a.dtype.kind in "fiu?"}
            (folder / "arrays.safetensors").write_bytes(save(arrays))
        case "bytes":
            (folder / "arrays.safetensors").write_bytes(
                data.draw(damaged((bundle / "arrays.safetensors").read_bytes()))
            )
    if isinstance(manifest, dict) and "arrays_sha256" in manifest:
        manifest["arrays_sha256"] = sha256_file(folder / "arrays.safetensors")
    text = json.dumps(_plain(manifest)).encode()
    (folder / "manifest.json").write_bytes(text if data.draw(st.integers(0, 3)) else data.draw(damaged(text)))
    judge("emulator bundle", lambda: load_emulator(folder))


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | None) else str(value)


@given(st.data())
def test_cosmopower(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "tt.npz"
    write_cosmopower(path, network(np.random.default_rng(2), pca=data.draw(st.booleans())))
    CosmoPowerTheory({"tt": path}, BOX, CARD)
    _damage_npz(path, data)
    judge("CosmoPower network", lambda: CosmoPowerTheory({"tt": path}, BOX, CARD))


@given(st.data())
def test_training_set(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "chunk_0.npz"
    write_chunk(path, Universe(np.random.default_rng(3)).training_set(4))
    read_training_set([path])
    _damage_npz(path, data)
    judge("training set", lambda: read_training_set([path]))


@pytest.mark.parametrize("record", [5, [], {}, {"derived": 1}, {"settings": 1}, {"parameters": [[1]]}])
def test_a_training_set_with_another_record_is_refused(tmp_path: Path, record: Any) -> None:
    """Valid JSON that is no record, or lacks a part, or has a part of another kind."""
    path = tmp_path / "chunk_0.npz"
    write_chunk(path, Universe(np.random.default_rng(3)).training_set(4))
    with np.load(path) as f:
        arrays = {name: f[name] for name in f.files}
    if record:
        good = json.loads(arrays["record"].tobytes())
        record = good | record if isinstance(record, dict) else record
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), dtype=np.uint8)
    with path.open("wb") as out:
        np.savez(out, **arrays)
    assert not judge("training set", lambda: read_training_set([path]))


@pytest.mark.parametrize("name", ["theta", "dl", "unlensed", "derived", "background"])
def test_a_training_set_with_an_array_of_other_axes_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "chunk_0.npz"
    write_chunk(path, Universe(np.random.default_rng(3)).training_set(4))
    with np.load(path) as f:
        arrays = {key: f[key] for key in f.files}
    for other in (np.array(0.5), arrays[name][..., None], arrays[name][:1]):
        with path.open("wb") as out:
            np.savez(out, **(arrays | {name: other}))
        assert not judge("training set", lambda: read_training_set([path]))


def _damage_npz(path: Path, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        return
    with np.load(path) as f:
        arrays = {name: f[name] for name in f.files}
    with path.open("wb") as out:
        np.savez(out, **data.draw(damaged_arrays(arrays)))


_SPECTRUM = b"# ell tt te ee\n# units_checked\n" + b"".join(
    b"%d %.3f %.3f %.3f\n" % (x, 1000 / x, (-1) ** x, 5.0) for x in range(2, 30)
)


@given(damaged(_SPECTRUM))
def test_text_spectrum(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(_SPECTRUM)
    read_spectrum(path)
    path.write_bytes(raw)
    judge("text spectrum", lambda: read_spectrum(path))
