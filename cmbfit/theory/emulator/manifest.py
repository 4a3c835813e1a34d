"""Where emulator bundles lie and what their manifests say, without loading an array."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cmbfit.errors import BundleError, unknown_name

_SHIPPED = resources.files("cmbfit.theory.emulator").joinpath("bundles")


def shipped_bundles() -> tuple[str, ...]:
    """Names of the emulators in the package."""
    return tuple(sorted(f.name for f in _SHIPPED.iterdir() if f.joinpath("manifest.json").is_file()))


def bundle_folder(name_or_path: str | Path) -> Path:
    """Return the folder of a shipped bundle's name, or the path itself."""
    path = Path(name_or_path)
    if path.joinpath("manifest.json").is_file():
        return path
    if str(name_or_path) in shipped_bundles():
        return Path(str(_SHIPPED.joinpath(str(name_or_path))))
    raise BundleError(
        unknown_name(
            "emulator (a shipped name, or a folder with manifest.json)", str(name_or_path), shipped_bundles()
        )
    )
