from __future__ import annotations

from pathlib import Path

from cmbfit.io import read_json, write_json


def join_predictive(*, parts: Path, output: Path) -> None:
    """Join the posterior predictive checks of all fits into one product.

    Parameters
    ----------
    parts
        JSON: the products of check_predictive.
    output
        Where the record goes (JSON).
    """
    write_json(output, {"fits": [read_json(path) for path in read_json(parts)]})
