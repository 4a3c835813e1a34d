from __future__ import annotations

from pathlib import Path

from cmbfit.io import provenance, read_json, write_json


def join_subsets(*, parts: Path, output: Path) -> None:
    """Join the subsets of all fits for the report.

    Parameters
    ----------
    parts
        JSON: products of measure_subsets, by name.
    output
        Where the record goes (JSON).
    """
    files = read_json(parts)
    sets = {name: read_json(path) for name, path in files.items()}
    write_json(output, {"sets": sets, "provenance": provenance(inputs=list(files.values()))})
