"""A run's products by value: everything in its folder but times, costs and the record of the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cmbfit.io import sha256_file

from .toy import RUN

COST = {
    "created",
    "seconds",
    "evaluations",
    "evaluations_per_second",
    "counts",
    "zero_probability",
    "created_at",
    "git",
    "cmbfit",
}
"""What a run that was cut short may say otherwise: when it ran and what this part of it took."""


def products(folder: Path) -> dict[str, Any]:
    """Return each file of a run by its path: JSON-able values.

    Raises
    ------
    AssertionError
        If a record names another content than the file beside it has.
    """
    root = folder / RUN
    found = (p for p in sorted(root.rglob("*")) if not p.is_dir() or not any(p.iterdir()))
    names = {p: str(p.relative_to(root)) for p in found}
    return {
        name: _value(p, folder) for p, name in names.items() if not name.startswith(("logs/", "benchmarks/"))
    }


def against(folder: Path, wanted: dict[str, Any]) -> list[str]:
    """Return what differs from the products of a clean folder."""
    try:
        return differences(wanted, products(folder))
    except (AssertionError, OSError, ValueError, KeyError) as error:
        return [f"{type(error).__name__}: {error}"]


def differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Return the places at which two values differ: not by cmbfit's own function, which may be at fault."""
    if not (isinstance(wanted, dict) and isinstance(found, dict)):
        return [] if wanted == found else [f"{path}: {str(found)[:60]} instead of {str(wanted)[:60]}"]
    return [
        x
        for key in sorted({*wanted, *found})
        for x in differences(wanted.get(key, "nothing"), found.get(key, "nothing"), f"{path} {key}".strip())
    ]


def _value(path: Path, folder: Path) -> Any:
    if path.is_dir():
        return "an empty folder"
    if path.name.startswith("."):
        return "a leftover"
    match path.suffix:
        case ".json":
            return _without_costs(json.loads(path.read_text()), path, folder)
        case ".h5" | ".nc":
            return _hdf5(path)
        case ".npz":
            with np.load(path) as f:
                return {name: _array(f[name]) for name in f.files}
    return sha256_file(path)


def _array(x: Any) -> str:
    x = np.asarray(x)
    return f"{x.dtype} {x.shape} {hash(x.tobytes())}"


def _hdf5(path: Path) -> dict[str, Any]:
    out: dict[str, Any] = {}

    def add(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype != h5py.ref_dtype:
            out[name] = _array(node[()])
        for key, x in node.attrs.items():
            if key not in COST and key not in ("DIMENSION_LIST", "REFERENCE_LIST"):
                out[f"{name}@{key}"] = str(x)

    with h5py.File(path) as f:
        add("", f)
        f.visititems(add)
    return out


def _without_costs(value: Any, path: Path, folder: Path) -> Any:
    if isinstance(value, list):
        return [_without_costs(x, path, folder) for x in value]
    if not isinstance(value, dict):
        return value
    out = {k: _without_costs(x, path, folder) for k, x in value.items() if k not in COST}
    if isinstance(inputs := value.get("inputs"), dict):  # their sha256 has the costs in it
        for name, digest in inputs.items():
            now = sha256_file(folder / name)
            assert now == digest, f"{path.name} says of {name} that it was another file"
        out["inputs"] = sorted(inputs)
    if isinstance(product := value.get("product"), dict) and "files" in product:
        for name, digest in product["files"].items():
            assert sha256_file(path.with_name(product["folder"]) / name) == digest, (
                f"{path.name}: another {name}"
            )
        out["product"] = sorted(product["files"])
    elif isinstance(product, dict):
        now = sha256_file(path.with_name(product["file"]))
        assert now == product["sha256"], f"{path.name} describes another {product['file']}"
        out["product"] = product["file"]
    return out
