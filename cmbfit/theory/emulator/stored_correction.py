"""A correction as arrays and a record of a bundle, and the base emulator that it names instead of holding it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.errors import BundleError
from cmbfit.io import read_json
from cmbfit.theory.emulator.correction import Correction, HalfSpace
from cmbfit.theory.emulator.manifest import bundle_folder, shipped_bundles


def correction_arrays(correction: Correction) -> dict[str, np.ndarray]:
    """Return the arrays of a correction, by the names they have in a bundle."""
    arrays = {"correction.degrees": correction.degrees}
    for i, (weight, bias) in enumerate(correction.layers):
        arrays |= {f"correction.layer{i}.weight": weight, f"correction.layer{i}.bias": bias}
    arrays |= {f"correction.head.{name}": head for name, head in correction.heads.items()}
    arrays |= {f"correction.basis.{name}": basis for name, basis in correction.basis.items()}
    return arrays


def correction_record(correction: Correction) -> dict[str, Any]:
    """Return what a manifest says of a correction beside its arrays."""
    return {
        "box": {name: list(limits) for name, limits in correction.box.items()},
        "base_values": {name: list(x) for name, x in correction.base_values.items()},
        "layers": len(correction.layers),
        "relative": list(correction.relative),
        "half_spaces": [{"sum": dict(h.sum), "below": h.below} for h in correction.half_spaces],
    }


def read_correction(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Correction:
    """Return the correction of a manifest's record and a bundle's arrays."""

    def group(kind: str) -> dict[str, np.ndarray]:
        prefix = f"correction.{kind}."
        return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}

    return Correction(
        box={name: (low, high) for name, (low, high) in record["box"].items()},
        base_values={name: tuple(np.atleast_1d(x).tolist()) for name, x in record["base_values"].items()},
        layers=tuple(
            (arrays[f"correction.layer{i}.weight"], arrays[f"correction.layer{i}.bias"])
            for i in range(record["layers"])
        ),
        degrees=arrays["correction.degrees"],
        heads=group("head"),
        basis=group("basis"),
        relative=tuple(record.get("relative", ())),
        half_spaces=tuple(HalfSpace(h["sum"], h["below"]) for h in record.get("half_spaces", ())),
    )


def base_of(settings: Mapping[str, Any]) -> dict[str, str] | None:
    """Return name and sha256 of a loaded base emulator if it is a shipped one, which a bundle need not hold again.

    Parameters
    ----------
    settings : mapping
        Of the loaded base.
    """
    name, mine = settings.get("bundle"), settings.get("arrays_sha256")
    if name not in shipped_bundles():
        return None
    theirs = read_json(bundle_folder(str(name)) / "manifest.json")["arrays_sha256"]
    return {"bundle": str(name), "arrays_sha256": str(mine)} if mine == theirs else None


def require_base(folder: str | Path, wanted: Mapping[str, str], found: Mapping[str, Any]) -> None:
    """Refuse a base emulator that is not the one a correction was made for.

    Parameters
    ----------
    folder : str or Path
        Of the correction.
    wanted : mapping
        As :func:`base_of` wrote it.
    found : mapping
        Manifest of the bundle of that name.
    """
    if found["arrays_sha256"] != wanted["arrays_sha256"]:
        raise BundleError(
            f"{folder}: a correction of {wanted['bundle']} with sha256 {wanted['arrays_sha256'][:16]}..., but this cmbfit "
            f"ships {wanted['bundle']} with {found['arrays_sha256'][:16]}...: they are of two versions of the family; take the "
            "correction that this cmbfit ships, or fine-tune it again (`cmbfit emulator finetune`)"
        )
