"""Fetch one registered file, verified, and copy it into the run's directory."""

from __future__ import annotations

import argparse
import shutil

from cmbfit.data import fetch
from cmbfit.io import atomic_path
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, fetch, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="name in data/registry.yaml")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    source = fetch(args.name, progress=False)
    with atomic_path(args.output) as tmp:
        shutil.copyfile(source, tmp)  # not a link: what is done to the run's file must not reach the cache
    print(f"{args.name}: {source} -> {args.output}")


if __name__ == "__main__":
    run_stage(main)
