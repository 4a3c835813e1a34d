"""Arrays that travel inside the package: each has a sha256 in ``shipped.json``, which is checked when it is read.

Emulators are not among them: a bundle's own manifest names the sha256 of its arrays. ``python -m cmbfit.shipped`` writes
``shipped.json`` anew, after an array was made again (data/README.md says how).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cmbfit.errors import ChecksumError, DataError
from cmbfit.io import read_json, write_json

_PACKAGE = Path(__file__).resolve().parent
_MANIFEST = "shipped.json"
_ARRAYS = (".npz", ".npy", ".safetensors", ".fits", ".h5", ".dat", ".txt")


def arrays(package: Path = _PACKAGE) -> list[str]:
    """Return the arrays and tables in the package, by path from its top; those of emulator bundles apart."""
    found = (p for p in package.rglob("*") if p.suffix in _ARRAYS)
    return sorted(
        p.relative_to(package).as_posix() for p in found if not (p.parent / "manifest.json").is_file()
    )


def read_shipped(name: str, package: Path = _PACKAGE) -> bytes:
    """Return the contents of a shipped array.

    Parameters
    ----------
    name : str
        Path from the package's top, ``theory/extrapolation_template.npz``.

    Raises
    ------
    ChecksumError
        If it is not the file that was shipped.
    DataError
        If it is missing, or is not among the shipped ones.
    """
    sums = read_json(package / _MANIFEST)
    if name not in sums:
        raise DataError(f"{name}: expected one of the shipped files {', '.join(sums)}")
    try:
        raw = (package / name).read_bytes()
    except OSError as error:
        raise DataError(f"{package / name}: cannot be read ({error}); install cmbfit again") from error
    if (found := hashlib.sha256(raw).hexdigest()) != sums[name]:
        raise ChecksumError(
            f"{package / name}: altered: sha256 {found}, cmbfit ships {sums[name]}; install cmbfit again, or, if you made "
            "the file anew on purpose, run python -m cmbfit.shipped"
        )
    return raw


def write_manifest(package: Path = _PACKAGE) -> None:
    """Write ``shipped.json``: path to sha256."""
    sums = {name: hashlib.sha256((package / name).read_bytes()).hexdigest() for name in arrays(package)}
    write_json(package / _MANIFEST, sums)


if __name__ == "__main__":
    write_manifest()
