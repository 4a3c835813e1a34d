from __future__ import annotations

import shutil
from pathlib import Path

from cmbfit.data import fetch
from cmbfit.io import atomic_path


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
    with atomic_path(output) as tmp:
        shutil.copyfile(source, tmp)  # not a link: what is done to the run's file must not reach the cache
    print(f"{name}: {source} -> {output}")
