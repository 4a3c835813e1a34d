"""Fetch one registered file, verified, and link it into the run's directory."""

from __future__ import annotations

import argparse
import os
import shutil

from cmbfit.data import fetch
from cmbfit.io import atomic_path


def main() -> None:
    """Parse the arguments, fetch, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="name in data/registry.yaml")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    source = fetch(args.name, progress=False)
    with atomic_path(args.output) as tmp:
        tmp.unlink()
        try:
            os.link(source, tmp)  # maps are gigabytes: no second copy where the file system allows
        except OSError:
            shutil.copyfile(source, tmp)
    print(f"{args.name}: {source} -> {args.output}")


if __name__ == "__main__":
    main()
