"""Publishing: the whole file or none, and a record of what made it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

import cmbfit
from cmbfit.errors import DataError
from cmbfit.io import (
    atomic_path,
    provenance,
    publish_record,
    read_json,
    sha256_file,
    sha256_json,
    write_json,
    write_text,
)


def test_a_published_file_is_whole_and_alone(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "new" / "x.txt") as tmp:
        assert tmp.suffix == ".txt"
        assert tmp.parent == tmp_path / "new"  # same file system: the rename is atomic
        tmp.write_text("whole")
        assert not (tmp_path / "new" / "x.txt").exists()
    assert [(p.name, p.read_text()) for p in (tmp_path / "new").iterdir()] == [("x.txt", "whole")]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, kind: type[BaseException]) -> None:
    (tmp_path / "x.txt").write_text("old")

    def fail(path: Path) -> None:
        with atomic_path(path) as tmp:
            tmp.write_text("half")
            raise kind

    for name in ("x.txt", "y.txt"):
        with pytest.raises(kind):
            fail(tmp_path / name)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.txt", "old")]


def test_a_published_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.txt").stat().st_mode) == 0o640


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "x.txt", "first, longer")
    write_text(tmp_path / "x.txt", "µK²")
    assert (tmp_path / "x.txt").read_bytes() == "µK²".encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [1, -float("inf")]}])
def test_json_holds_no_nan(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", value)
    assert list(tmp_path.iterdir()) == []


def test_json_round_trip_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2.5, None, "π"]})
    assert read_json(path) == json.loads(path.read_text()) == {"a": [1, 2.5, None, "π"]}
    for raw in (b'{"a": [1, 2', b"", b"\xff\xfe"):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=r"x\.json: expected JSON"):
            read_json(path)
    with pytest.raises(DataError, match=r"absent\.json: no such file"):
        read_json(tmp_path / "absent.json")


def test_checksums_are_those_of_sha256(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    # FIPS 180-4: the empty message
    assert sha256_file(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    raw = rng.bytes(300_000)
    path.write_bytes(raw)
    assert sha256_file(path) == hashlib.sha256(raw).hexdigest()
    assert sha256_json({"b": 1, "a": [1, 2]}) == hashlib.sha256(b'{"a":[1,2],"b":1}').hexdigest()
    assert sha256_json({"a": [2, 1]}) != sha256_json({"a": [1, 2]})


def test_a_record_names_inputs_product_and_code(tmp_path: Path) -> None:
    source, product = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("input")
    product.write_text("output")
    publish_record(product, inputs=[source], settings={"lmax": 5}, seed=3)
    record = json.loads((tmp_path / "out.txt.json").read_text())
    assert record["inputs"] == {str(source): hashlib.sha256(b"input").hexdigest()}
    assert record["product"] == {"file": "out.txt", "sha256": hashlib.sha256(b"output").hexdigest()}
    assert (record["settings"], record["seed"], record["cmbfit"]) == ({"lmax": 5}, 3, cmbfit.__version__)
    assert record["packages"]["numpy"] == np.__version__
    with pytest.raises(FileNotFoundError):
        provenance(inputs=[tmp_path / "absent"])


def test_a_record_of_a_folder_names_its_files(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "root.1.txt").write_text("output")
    (tmp_path / "root" / ".snakemake_timestamp").touch()
    publish_record(tmp_path / "root", inputs=[])
    record = json.loads((tmp_path / "root.json").read_text())
    files = {"root.1.txt": hashlib.sha256(b"output").hexdigest()}
    assert record["product"] == {"folder": "root", "files": files}


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        "-Infinity",
        '{"a": 1e999}',
        '{"a": 1, "a": 2}',
        '[{"b": {"a": 1, "a": 1}}]',
        "[1,]",
        "1 2",
    ],
)
def test_json_is_that_of_its_standard(text: str, tmp_path: Path) -> None:
    """RFC 8259: no NaN, no infinity; names that are given twice mean something else to every reader."""
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json: expected JSON, found"):
        read_json(tmp_path / "x.json")


def test_every_number_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"a": [0.1, -1e-308, 5e-324, 1.7976931348623157e308, 2**70, -0.0], "b": {"a": None}}
    write_json(tmp_path / "x.json", value)
    assert repr(read_json(tmp_path / "x.json")) == repr(value)
