from __future__ import annotations

import os
import platform
from pathlib import Path

from cmbfit.data import load_registry
from cmbfit.io import provenance, read_json, sha256_json, write_json
from cmbfit.likelihood.datasets.load import dataset_names, registry_group
from cmbfit.report.checks import read_checks


def write_summary(*, config: Path, files: Path, rules: Path, emulator: Path, output: Path) -> None:
    """Join fits, checks and provenance into the run's summary.json.

    Parameters
    ----------
    config
        JSON: the run's configuration.
    files
        JSON: `fits` (summary and reweight of each), `checks`, `products` by section of the page, the `registered`
        files that the run used, and its `blinding` (null for none).
    rules
        JSON: outputs, log and benchmark by rule.
    emulator
        Manifest of the emulator's bundle.
    output
        Where the summary goes (JSON).
    """
    settings, given = read_json(config), read_json(files)
    fits = {
        name: read_json(fit["summary"]) | {"reweighted": read_json(fit["reweight"])}
        for name, fit in given["fits"].items()
    }
    registry = load_registry()
    groups = {
        registry_group(info["name"])
        for fit in fits.values()
        for info in fit["data"]
        if info["name"] in dataset_names()
    } - {""}
    entries = [registry[name] for name in given["registered"]]
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
    manifest = read_json(emulator)
    trained = {k: manifest[k] for k in ("arrays_sha256", "box", "lmax", "settings", "accuracy")}
    record = provenance(
        inputs=[
            *(fit[key] for key in ("summary", "reweight") for fit in given["fits"].values()),
            *given["checks"],
            *given["products"].values(),
        ],
        settings=settings,
        config_sha256=sha256_json(settings),
        data=data,
        emulator=trained,
        machine={"system": platform.platform(), "cores": os.cpu_count()},
    )
    checks = read_checks(given["checks"])
    folder = output.parent
    for check in checks:
        check["file"] = str(Path(check["file"]).relative_to(folder))
    products = {key: read_json(path) for key, path in given["products"].items()}
    write_json(
        output,
        {
            "fits": fits,
            "checks": checks,
            "products": products,
            "rules": read_json(rules),
            "provenance": record,
            **({} if given["blinding"] is None else {"blinding": given["blinding"]}),
        },
    )
