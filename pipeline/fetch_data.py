from __future__ import annotations

from pathlib import Path

from cmbfit.data import fetch
from cmbfit.io import copy_file


def fetch_data(*, name: str, output: Path) -> None:
    """Fetch one registered file, verified, and copy it into the run's directory.

    Parameters
    ----------
    name
        Name in data/registry.yaml.
    output
        Where the copy goes.
    """
    source = fetch(name, progress=False)
    copy_file(source, output)  # not a link: what is done to the run's file must not reach the cache
    print(f"{name}: {source} -> {output}")
