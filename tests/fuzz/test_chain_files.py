"""Checkpoints, chains and samples, and the files between the stages of a survey."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbfit.inference.chain import Chain
from cmbfit.inference.chain_store import Block, ChainStore
from cmbfit.inference.products import Samples, read_chain, read_samples, write_chain, write_samples
from cmbfit.io import read_json
from cmbfit.spectra.transforms import FieldAlms
from cmbfit.survey.products import read_alms, write_alms
from tests.fuzz.damage import damaged, damaged_arrays, damaged_npz, damaged_tree, plain, written
from tests.fuzz.judge import judge

_RNG = np.random.default_rng(5)
IDENTITY = {"seed": 1, "sampler": {"walkers": 4}, "posterior": {"data": ["toy"]}}


def _block() -> Block:
    state = {
        "position": np.zeros((4, 2)),
        "log_prob": np.zeros(4),
        "keys": np.arange(624),
        "numbers": np.zeros(2),
    }
    return Block(np.zeros((3, 4, 2)), np.zeros((3, 4)), np.ones(4, dtype=int), state)


def _chain(path: Path) -> None:
    x = _RNG.normal(size=(20, 4, 2))
    tau = np.ones(2)
    write_chain(
        path, Chain(("a", "b"), x, x[..., 0], tau, [(20, [1.0, 1.0])], 0.5, True, 1.0, 80, {}), IDENTITY
    )


def _samples(path: Path) -> None:
    x = _RNG.normal(size=(9, 2))
    write_samples(path, Samples(("a", "b"), [x, x], [x[:, 0]] * 2, 1, {"a": (0.0, None)}))


def _alms(path: Path) -> None:
    t = _RNG.normal(size=15) + 1j
    write_alms(path, FieldAlms(t, t, t, 4), "0" * 64)


HDF5: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "chain": (_chain, read_chain),
    "samples": (_samples, read_samples),
    "coefficients": (_alms, lambda p: read_alms(p, "0" * 64)),
}


@pytest.mark.parametrize("name", HDF5)
@given(st.data())
def test_hdf5(tmp_path: Path, name: str, data: st.DataObject) -> None:
    write, read = HDF5[name]
    path, good = tmp_path / "x.h5", written(write)
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(good)))
    else:
        path.write_bytes(good)
        _damage_members(path, data)
    judge(name, lambda: read(path))


@pytest.mark.parametrize("name", HDF5)
def test_the_undamaged_file_is_read(tmp_path: Path, name: str) -> None:
    write, read = HDF5[name]
    (tmp_path / "x.h5").write_bytes(written(write))
    read(tmp_path / "x.h5")


def _damage_members(path: Path, data: st.DataObject) -> None:
    with h5py.File(path, "r+") as f:
        names: list[str] = []
        f.visititems(lambda n, x: names.append(n) if isinstance(x, h5py.Dataset) else None)
        arrays = {n: f[n][()] for n in names}
        for n in names:
            del f[n]
        for n, a in data.draw(damaged_arrays(arrays)).items():
            f[n] = a.astype("S") if a.dtype.kind == "U" else a
        if f.attrs and data.draw(st.booleans()):
            key = data.draw(st.sampled_from(sorted(f.attrs)))
            value = data.draw(
                st.sampled_from([None, "", "[", "null", "[[[]]]", "{}", 0, -1, 1e300, b"\xff", "3"])
            )
            if value is None:
                del f.attrs[key]
            else:
                f.attrs[key] = value


@given(st.data())
def test_checkpoint(tmp_path: Path, data: st.DataObject) -> None:
    block, identity = written(_checkpoint, "block_00000.npz"), json.dumps(IDENTITY).encode()
    match data.draw(st.sampled_from(["block", "identity", "tree"])):
        case "block":
            block = data.draw(damaged_npz(block))
        case "identity":
            identity = data.draw(damaged(identity))
        case _:
            identity = json.dumps(plain(data.draw(damaged_tree(IDENTITY)))).encode()
    (tmp_path / "block_00000.npz").write_bytes(block)
    (tmp_path / "identity.json").write_bytes(identity)
    judge("checkpoint", lambda: ChainStore(tmp_path, IDENTITY).read(0))


def _checkpoint(path: Path) -> None:
    ChainStore(path.parent, IDENTITY).append(0, _block())


@given(st.data())
def test_json(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data.draw(st.one_of(damaged(json.dumps(IDENTITY).encode()), st.just(b"[" * 200_000))))
    judge("JSON", lambda: read_json(path))


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    """A whole file with a right checksum that is nonetheless no block of this chain."""
    block = _block()
    store = ChainStore(tmp_path, IDENTITY)
    store.append(0, dataclasses.replace(block, log_prob=np.zeros((2, 4))))
    assert not judge("checkpoint", lambda: store.read(0))
