"""Join fits, checks and provenance into the run's summary.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path

from cmbfit.data import load_registry
from cmbfit.io import provenance, read_json, sha256_json, write_json
from cmbfit.likelihood.datasets.load import dataset_names, registry_group
from cmbfit.report.checks import read_checks
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, join, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", required=True)
    parser.add_argument("--fits", nargs="+", required=True)
    parser.add_argument("--reweighted", nargs="+", required=True, help="products of reweight, one a fit")
    parser.add_argument("--checks", nargs="+", required=True)
    parser.add_argument("--sections", nargs="*", default=[], help="sections of the page with a product")
    parser.add_argument("--products", nargs="*", default=[], help="their products, in the same order")
    parser.add_argument("--rules", type=json.loads, required=True, help="outputs, log, benchmark by rule")
    parser.add_argument("--emulator", required=True, help="manifest of the bundle")
    parser.add_argument("--config", type=json.loads, required=True)
    parser.add_argument("--files", nargs="+", required=True, help="registered files that the run used")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    fits = {
        name: read_json(fit) | {"reweighted": read_json(weights)}
        for name, fit, weights in zip(args.names, args.fits, args.reweighted, strict=True)
    }
    registry = load_registry()
    groups = {
        registry_group(info["name"])
        for fit in fits.values()
        for info in fit["data"]
        if info["name"] in dataset_names()
    } - {""}
    entries = [registry[name] for name in args.files]
    entries += [entry for group in sorted(groups) for entry in registry.select(group).values()]
    data = [
        {
            "name": e.name,
            "sha256": e.sha256,
            "bytes": e.size,
            "licence": e.licence,
            "citation": list(e.citation),
            "description": e.description,
        }
        for e in entries
    ]
    manifest = read_json(args.emulator)
    emulator = {k: manifest[k] for k in ("arrays_sha256", "box", "lmax", "settings", "accuracy")}
    record = provenance(
        inputs=[*args.fits, *args.reweighted, *args.checks, *args.products],
        settings=args.config,
        config_sha256=sha256_json(args.config),
        data=data,
        emulator=emulator,
        machine={"system": platform.platform(), "cores": os.cpu_count()},
    )
    checks = read_checks(args.checks)
    folder = Path(args.output).parent
    for check in checks:
        check["file"] = str(Path(check["file"]).relative_to(folder))
    products = {key: read_json(path) for key, path in zip(args.sections, args.products, strict=True)}
    write_json(
        args.output,
        {"fits": fits, "checks": checks, "products": products, "rules": args.rules, "provenance": record},
    )


if __name__ == "__main__":
    run_stage(main)
