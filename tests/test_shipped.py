"""Arrays inside the package are the ones that were shipped, or they are refused."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

import cmbfit
from cmbfit import shipped
from cmbfit.errors import ChecksumError, DataError
from cmbfit.theory.extrapolation import extrapolation_template
from cmbfit.theory.hawking import response

PACKAGE = Path(cmbfit.__file__).parent
RESPONSE = "theory/hawking/injection_response.npz"


def test_every_array_of_the_package_has_its_sum() -> None:
    sums = json.loads((PACKAGE / "shipped.json").read_text())
    assert set(sums) == set(shipped.arrays()), "run python -m cmbfit.shipped"
    assert RESPONSE in sums
    for name, sha256 in sums.items():
        assert hashlib.sha256((PACKAGE / name).read_bytes()).hexdigest() == sha256, name
    # emulators have theirs in their own manifests
    for path in PACKAGE.rglob("arrays.safetensors"):
        manifest = json.loads((path.parent / "manifest.json").read_text())
        assert manifest["arrays_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what is shipped, which is read in place of the package's own."""
    for name in (*shipped.arrays(), "shipped.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((PACKAGE / name).read_bytes())
    monkeypatch.setattr(shipped.read_shipped, "__defaults__", (tmp_path,))
    return tmp_path


def scaled(raw: bytes, factor: float) -> bytes:
    """The same file with every array of numbers times a factor."""
    out = io.BytesIO()
    with np.load(io.BytesIO(raw), allow_pickle=False) as f:
        np.savez_compressed(out, **{k: f[k] * factor if f[k].dtype.kind == "f" else f[k] for k in f.files})
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "load"),
    [
        (RESPONSE, response._shipped.__wrapped__),
        ("theory/extrapolation_template.npz", extrapolation_template.__wrapped__),
    ],
)
def test_a_scaled_table_is_refused_where_it_is_used(package: Path, name: str, load) -> None:  # type: ignore[no-untyped-def]
    load()
    altered = scaled((package / name).read_bytes(), 1.5)
    (package / name).write_bytes(altered)
    with pytest.raises(ChecksumError, match=f"altered: sha256 {hashlib.sha256(altered).hexdigest()}"):
        load()
    shipped.write_manifest(package)  # made anew on purpose
    load()


def test_missing_and_unknown_files_are_named(package: Path) -> None:
    (package / RESPONSE).unlink()
    with pytest.raises(DataError, match=r"injection_response\.npz: cannot be read"):
        shipped.read_shipped(RESPONSE)
    with pytest.raises(DataError, match="expected one of the shipped files"):
        shipped.read_shipped("theory/none.npz")
