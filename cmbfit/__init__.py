"""cmbfit: from CMB maps to the physics of the early universe in one command."""

from __future__ import annotations

from cmbfit import _moved

_moved.watch()


def __getattr__(name: str) -> str:
    """Return ``__version__`` when it is asked for: reading the package's metadata would slow every import."""
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415

        try:
            return metadata.version("cmbfit")
        except metadata.PackageNotFoundError:  # a copy of the sources that nobody installed
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
