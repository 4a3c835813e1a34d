"""How stages read the sections of a configuration that the rules hand them as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmbfit.io import read_json


def read_fit(path: Path) -> dict[str, Any]:
    """Return a fit's section, complete, as the workflow wrote it."""
    section: dict[str, Any] = read_json(path)
    return section
