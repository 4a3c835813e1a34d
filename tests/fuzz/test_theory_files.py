"""Emulator bundles, CosmoPower networks, training sets, operators and text spectra."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, load_file, save

from cmbfit.io import sha256_file
from cmbfit.shipped import read_shipped
from cmbfit.theory.cosmopower import CosmoPowerTheory, write_cosmopower
from cmbfit.theory.emulator.accuracy import measure
from cmbfit.theory.emulator.bundle import load_emulator, write_bundle
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import fit_emulator
from cmbfit.theory.emulator.trainingset import read_training_set, write_chunk
from cmbfit.theory.hawking.injection_runs import InjectionRuns, read_runs, write_runs
from cmbfit.theory.hawking.response import read_responses
from cmbfit.theory.primordial.attractor import SHIPPED, SOLVERS
from cmbfit.theory.primordial.surrogate import read_surrogates
from cmbfit.theory.textfile import read_spectrum
from cmbfit.theory.transfer.expansion import ExpansionArrays, TransferExpansion
from cmbfit.theory.transfer.store import read_transfer, write_transfer
from tests.fuzz.damage import (
    damaged,
    damaged_arrays,
    damaged_npz,
    damaged_record,
    damaged_tree,
    plain,
    written,
)
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
    text = json.dumps(plain(manifest)).encode()
    (folder / "manifest.json").write_bytes(text if data.draw(st.integers(0, 3)) else data.draw(damaged(text)))
    judge("emulator bundle", lambda: load_emulator(folder))


def _network(path: Path) -> None:
    write_cosmopower(path, network(np.random.default_rng(2)))


def _network_of_pca(path: Path) -> None:
    write_cosmopower(path, network(np.random.default_rng(2), pca=True))


@given(st.data())
def test_cosmopower(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "tt.npz"
    path.write_bytes(data.draw(damaged_npz(written(data.draw(st.sampled_from([_network, _network_of_pca]))))))
    judge("CosmoPower network", lambda: CosmoPowerTheory({"tt": path}, BOX, CARD))


def _chunk(path: Path) -> None:
    write_chunk(path, Universe(np.random.default_rng(3)).training_set(4))


@given(st.data())
def test_training_set(tmp_path: Path, data: st.DataObject) -> None:
    path, good = tmp_path / "chunk_0.npz", written(_chunk)
    path.write_bytes(data.draw(st.one_of(damaged_npz(good), damaged_record(good))))
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


_SPECTRUM = b"# ell tt te ee\n# units_checked\n" + b"".join(
    b"%d %.3f %.3f %.3f\n" % (x, 1000 / x, (-1) ** x, 5.0) for x in range(2, 30)
)


@given(damaged(_SPECTRUM))
def test_text_spectrum(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(raw)
    judge("text spectrum", lambda: read_spectrum(path))


WRITERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "CosmoPower network": (_network, lambda p: CosmoPowerTheory({"tt": p}, BOX, CARD)),
    "CosmoPower network of PCA": (_network_of_pca, lambda p: CosmoPowerTheory({"tt": p}, BOX, CARD)),
    "training set": (_chunk, lambda p: read_training_set([p])),
    "text spectrum": (lambda p: p.write_bytes(_SPECTRUM) and None, read_spectrum),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_undamaged_file_is_read(tmp_path: Path, name: str) -> None:
    write, read = WRITERS[name]
    path = tmp_path / "x.npz"
    path.write_bytes(written(write))
    read(path)


# Evaporating holes, learned spectra, and transfer functions


def _holes(path: Path) -> None:
    n, lmax = 4, 20
    rng = np.random.default_rng(4)
    settings = {"design": {"lmax": lmax, "n_cosmologies": 2}, "class": "none"}
    arrays = [rng.random((n, 6)), np.full(n, 1e15), rng.random(n), rng.random((n, 4, lmax + 1))]
    write_runs(path, InjectionRuns(*arrays, rng.random(n), np.arange(n), settings))


def _responses(path: Path) -> None:
    raw = read_shipped("theory/hawking/injection_response.npz")
    with np.load(io.BytesIO(raw), allow_pickle=False) as f:  # the shipped file, its spectra cut short
        arrays = {name: f[name][..., :20] if name.startswith("basis") else f[name] for name in f.files}
    with path.open("wb") as out:
        np.savez_compressed(out, **arrays)


def _learned(path: Path) -> None:
    path.write_bytes(read_shipped(SHIPPED))


HOLES: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "runs of holes": (_holes, lambda p: read_runs([p])),
    "responses to holes": (_responses, read_responses),
    "learned spectra": (_learned, lambda p: read_surrogates(p.read_bytes(), SOLVERS, str(p))),
}


@pytest.mark.parametrize("name", HOLES)
@given(st.data())
def test_holes(tmp_path: Path, name: str, data: st.DataObject) -> None:
    write, read = HOLES[name]
    good, path = written(write), tmp_path / "x.npz"
    path.write_bytes(data.draw(st.one_of(damaged_npz(good), damaged_record(good))))
    judge(name, lambda: read(path))


@pytest.mark.parametrize("name", HOLES)
def test_undamaged_holes_are_read(tmp_path: Path, name: str) -> None:
    write, read = HOLES[name]
    (tmp_path / "x.npz").write_bytes(written(write))
    read(tmp_path / "x.npz")


def _expansion() -> TransferExpansion:
    rng, k = np.random.default_rng(3), np.linspace(1e-4, 0.1, 20)
    arrays = ExpansionArrays(
        k,
        np.arange(2, 21),
        np.array([2, 3, 4, 6, 9, 13, 20]),
        np.array([0.0224, 0.12, 1.041, 0.054]),
        np.array([3e-4, 2.7e-3, 6e-4, 0.015]),
        np.concatenate([[9.54], 1e-3 * rng.normal(size=24)]),
        {p: rng.random((19, 20)) for p in ("tt", "pp")},
        {p: 0.01 * rng.normal(size=(24, 7, 20)) for p in ("tt", "pp")},
    )
    return TransferExpansion(arrays, {"code": "toy"})


@pytest.fixture(scope="module")
def transfer(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    folder = tmp_path_factory.mktemp("transfer")
    write_transfer(folder, _expansion())
    read_transfer(folder)
    return json.loads((folder / "manifest.json").read_text()), (folder / "arrays.safetensors").read_bytes()


@given(st.data())
def test_transfer(transfer: tuple[dict[str, Any], bytes], tmp_path: Path, data: st.DataObject) -> None:
    """As for bundles: the sha256 fits."""
    manifest, raw = transfer
    match data.draw(st.sampled_from(["manifest", "arrays", "bytes"])):
        case "manifest":
            manifest = data.draw(damaged_tree(manifest))
        case "arrays":
            arrays = data.draw(damaged_arrays(load(raw)))
            raw = save({k: a for k, a in arrays.items() if a.dtype.kind in "fiu?"})
        case _:
            raw = data.draw(damaged(raw))
    if isinstance(manifest, dict) and "arrays_sha256" in manifest:
        manifest = manifest | {"arrays_sha256": hashlib.sha256(raw).hexdigest()}
    (tmp_path / "arrays.safetensors").write_bytes(raw)
    (tmp_path / "manifest.json").write_text(json.dumps(plain(manifest)))
    judge("transfer functions", lambda: read_transfer(tmp_path))
