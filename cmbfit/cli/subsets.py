"""``cmbfit subsets``: fits of parts of the data against the whole, without a workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cmbfit.blinded import mark_folder
from cmbfit.cli.words import AllowCodeOption, ConfigOption, TransferOption, say
from cmbfit.errors import ConfigError, unknown_name
from cmbfit.io import provenance, write_json


def subsets(
    config: Annotated[
        str,
        typer.Argument(help="A run's configuration with `subsets`: a YAML file, or a shipped one's name."),
    ],
    name: Annotated[list[str] | None, typer.Option(help="An entry of subsets; repeat. Default: all.")] = None,
    transfer: TransferOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for subsets_NAME.json, .csv, .png, .pdf.")
    ] = Path("subsets"),
    changes: ConfigOption = None,
    allow_code: AllowCodeOption = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Fit parts of a fit's data alone and say how far their parameters lie from the whole's, against what is expected.

    A few seconds a part. Priors and common data, which all parts have, are counted once.

    Example: cmbfit subsets subsets
    """
    from cmbfit.config.load import load_config, parse_overrides  # noqa: PLC0415 (torch comes later)

    settings = load_config([config], parse_overrides(changes or []))
    entries = settings.get("subsets") or {}
    if not entries:
        raise ConfigError("subsets: the configuration has none; see docs/methods/comparison.md")
    if lacking := [x for x in name or () if x not in entries]:
        raise ConfigError(unknown_name("entry of subsets", lacking[0], entries))
    settings = {**settings, "subsets": {k: x for k, x in entries.items() if not name or k in name}}
    if "bundle" not in settings["theory"]["emulator"]:
        raise ConfigError("theory.emulator.bundle: name an emulator; training is the workflow's: cmbfit run")
    from cmbfit.figures.style import save_figure  # noqa: PLC0415 (seconds of imports)
    from cmbfit.figures.subsets import plot_subsets, subset_table  # noqa: PLC0415
    from cmbfit.fit.run import complete_run  # noqa: PLC0415
    from cmbfit.inference.subset_request import subset_requests  # noqa: PLC0415
    from cmbfit.inference.subsets import measure_subsets  # noqa: PLC0415

    run = complete_run(settings, fits=[], transfer=transfer)
    mark_folder(output, run.blinding)
    for key, request in subset_requests(run).items():
        record = measure_subsets(request, run.seed)
        stem = output / f"subsets_{key}"
        about = provenance(settings=request.describe(), seed=run.seed)
        write_json(stem.with_suffix(".json"), {**record, "provenance": about})
        save_figure(plot_subsets(record), stem, subset_table(record))
        say(f"{key}: parts of the data of {record['fit']}")
        for shift in record["shifts"]:
            say(line(shift))
        say(f"wrote {stem}.json, .csv, .png and .pdf")


def line(shift: dict[str, Any]) -> str:
    """Return a shift in words: each parameter's in units of its expected scatter, and all together."""
    words = [
        f"{p} {d / shift['expected'][p]:+.2f}"
        if shift["expected"][p]
        else f"{p} {d:+.3g} (no scatter is expected)"
        for p, d in shift["difference"].items()
    ]
    joint = (
        ""
        if shift["pte"] is None
        else f"; chi2 {shift['chi2']:.2f} in {shift['directions']}, PTE {shift['pte']:.3f}"
    )
    return f"  {shift['to']} against {shift['from']}: {', '.join(words)}{joint}"
