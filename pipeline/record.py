"""A stage's arguments in the record beside its product."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def recorded(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function's arguments as JSON takes them: paths as text."""
    return {name: _plain(value) for name, value in arguments.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(x) for x in value] if isinstance(value, list | tuple) else value
