"""Operators on disk: a folder with ``arrays.safetensors`` and ``manifest.json``; no pickle.

The manifest holds settings, sizes, the arrays' sha256 and reference predictions that are recomputed on
reading, as for emulator bundles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save

import cmbfit
from cmbfit.errors import DataError
from cmbfit.io import parse_json, read_json, reading, require_sha256, sha256_file, write_bytes, write_json
from cmbfit.theory.transfer.expansion import ExpansionArrays, TransferExpansion
from cmbfit.theory.transfer.operator import TransferOperator

VERSION = 1

_FORMATS = {TransferOperator: "cmbfit-transfer-operator", TransferExpansion: "cmbfit-transfer-expansion"}
# sums in another order: of a row's largest value, in the precision of the products; a damaged array errs by far more
_REFERENCE_TOLERANCE = {TransferOperator: 1e-9, TransferExpansion: 3e-6}


def write_arrays(
    path: str | Path, arrays: Mapping[str, np.ndarray], made_of: Mapping[str, Any] | None = None
) -> None:
    """Publish arrays as safetensors, with what they are made of (JSON-able) in the header."""
    record = None if made_of is None else {"made_of": json.dumps(dict(made_of), sort_keys=True)}
    write_bytes(path, save({name: np.ascontiguousarray(x) for name, x in arrays.items()}, record))


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read what :func:`write_arrays` wrote."""
    with reading(path, "arrays as safetensors (damaged: compute them again)"):
        return load_file(path)


def read_made_of(path: str | Path) -> dict[str, Any]:
    """Return what :func:`write_arrays` was told its arrays are made of; empty for arrays without a record."""
    with reading(path, "arrays as safetensors (damaged: compute them again)"), safe_open(path, "numpy") as f:
        record = parse_json((f.metadata() or {}).get("made_of", "{}"))
        return dict(record)


def write_transfer(folder: str | Path, product: TransferOperator | TransferExpansion) -> None:
    """Publish an operator or an expansion: arrays first, then the manifest that names their sha256.

    Parameters
    ----------
    folder : str or Path
    product : TransferOperator or TransferExpansion
        Arrays keep their precision: convert with ``to(dtype=torch.float32)`` before to halve the file.
    """
    folder = Path(folder)
    arrays = _arrays(product)
    write_arrays(folder / "arrays.safetensors", arrays)
    manifest = {
        "format": _FORMATS[type(product)],
        "version": VERSION,
        "cmbfit": cmbfit.__version__,
        "units": "D_l = l(l+1)C_l/2pi in uK^2 (pp: [L(L+1)]^2 C_L/2pi) per unit dimensionless P(k); k in 1/Mpc",
        "pairs": list(product.pairs),
        "lmax": product.lmax,
        "shapes": {name: [str(a.dtype), *a.shape] for name, a in arrays.items()},
        "settings": product.settings,
        "arrays_sha256": sha256_file(folder / "arrays.safetensors"),
        "reference": _reference(product),
    }
    write_json(folder / "manifest.json", manifest)


def read_transfer(folder: str | Path) -> TransferOperator | TransferExpansion:
    """Read what :func:`write_transfer` wrote.

    Raises
    ------
    DataError
        If a file is missing, altered, of another format or version, or its reference predictions do not
        come out.
    """
    folder = Path(folder)
    with reading(folder, "transfer functions (incomplete or damaged: compute them again)"):
        return _read(folder)


def _read(folder: Path) -> TransferOperator | TransferExpansion:
    manifest = read_json(folder / "manifest.json")
    kinds = {name: kind for kind, name in _FORMATS.items()}
    kind = kinds.get(manifest.get("format"))
    if kind is None or manifest.get("version") != VERSION:
        raise DataError(
            f"{folder}: expected format {' or '.join(kinds)} version {VERSION}, "
            f"found {manifest.get('format')} version {manifest.get('version')}"
        )
    path = folder / "arrays.safetensors"
    if not path.is_file():
        raise DataError(f"{path}: missing")
    require_sha256(path, manifest["arrays_sha256"])
    # in its settings too: what is made of it is made of these arrays
    settings = {**manifest["settings"], "arrays_sha256": manifest["arrays_sha256"]}
    product = _product(kind, read_arrays(path), {**manifest, "settings": settings})
    expected = manifest["reference"]
    for pair, row in _reference(product).items():
        most = _REFERENCE_TOLERANCE[kind] * np.abs(expected[pair]).max()
        if not np.allclose(row, expected[pair], rtol=0, atol=most):
            raise DataError(f"{folder}: does not reproduce its own reference {pair}: found {row}")
    return product


def _arrays(product: TransferOperator | TransferExpansion) -> dict[str, np.ndarray]:
    if isinstance(product, TransferOperator):
        matrices = {f"w.{p}": x.cpu().numpy() for p, x in product.matrices.items()}
        arrays = {"k": product.k.cpu().numpy(), "ell": product.ell.cpu().numpy(), **matrices}
    else:
        a = product.arrays
        fixed = ("k", "ell", "sampled", "centre", "steps", "log_distance")
        arrays = {name: np.asarray(getattr(a, name)) for name in fixed}
        arrays |= {f"w.{p}": x for p, x in a.base.items()}
        arrays |= {f"correction.{p}": x for p, x in a.corrections.items()}
    return {name: np.ascontiguousarray(x) for name, x in arrays.items()}


def _product(
    kind: type, arrays: dict[str, np.ndarray], manifest: dict[str, Any]
) -> TransferOperator | TransferExpansion:
    base = {p: arrays[f"w.{p}"] for p in manifest["pairs"]}
    if kind is TransferOperator:
        return TransferOperator(arrays["k"], arrays["ell"], base, manifest["settings"])
    corrections = {p: arrays[f"correction.{p}"] for p in manifest["pairs"]}
    fixed = ("k", "ell", "sampled", "centre", "steps", "log_distance")
    parts = ExpansionArrays(**{name: arrays[name] for name in fixed}, base=base, corrections=corrections)
    return TransferExpansion(parts, manifest["settings"])


def _reference(product: TransferOperator | TransferExpansion) -> dict[str, list[float]]:
    """D_l of a power law at a few multipoles."""
    power = 2.1e-9 * (product.k / 0.05) ** -0.035
    if isinstance(product, TransferOperator):
        dl = product.at_ell(power[None])
    else:
        # a step off the centre, where every correction counts
        shifted = torch.from_numpy(product.arrays.centre + product.arrays.steps)
        dl = product.unlensed(shifted[None], power[None])
    return {p: x[0, :: max(1, x.shape[1] // 8)].tolist() for p, x in dl.items()}
