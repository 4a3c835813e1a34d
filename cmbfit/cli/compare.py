"""``cmbfit compare``: models fitted to the same data in one table, without a workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cmbfit.blinded import mark_folder
from cmbfit.cli.words import AllowCodeOption, ConfigOption, TransferOption, say
from cmbfit.errors import ConfigError, DataError
from cmbfit.io import provenance, read_json, write_json


def compare(
    config: Annotated[
        str, typer.Argument(help="A run's configuration: a YAML file, or a shipped one's name.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A fit or a model of comparison.fixed; repeat, the reference first. Default: all of run.fits."
        ),
    ] = None,
    chains: Annotated[
        Path | None,
        typer.Option(
            help="Folder of NAME.samples.h5 and NAME.summary.json; default results/RUN/chains. May lack some."
        ),
    ] = None,
    evidence: Annotated[
        str | None,
        typer.Option(
            help="nested, tempered, importance, chain, your own method or none, whatever the configuration says."
        ),
    ] = None,
    transfer: TransferOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for models.json, .csv, .png, .pdf.")
    ] = Path("comparison"),
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    changes: ConfigOption = None,
    allow_code: AllowCodeOption = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Compare models of the same data: best fits, AIC, BIC, Bayes factors, constraints.

    Best fits need no chains; constraints and Savage-Dickey ratios come from chains that are there. Fits of different
    data are refused, or, without --model, stand in tables of their own.

    Example: cmbfit compare pipeline/config/default.yaml --evidence importance
    """
    if chains is not None:
        _require_chains(chains)
    from cmbfit.config.load import config_path, load_config, parse_overrides  # noqa: PLC0415 (torch comes later)

    settings = load_config([config], parse_overrides(changes or []))
    section = settings["comparison"]
    if "bundle" not in settings["theory"]["emulator"]:
        raise ConfigError("theory.emulator.bundle: name an emulator; training is the workflow's: cmbfit run")
    asked = section["evidence"] if evidence is None else None if evidence == "none" else {"method": evidence}
    if asked and section["evidence"] and asked["method"] == section["evidence"]["method"]:
        asked = section["evidence"]
    # heavy: torch, matplotlib and getdist, not for --help
    if asked:
        from cmbfit.inference.evidence import EVIDENCE  # noqa: PLC0415

        EVIDENCE.where(asked["method"])
    import numpy as np  # noqa: PLC0415

    from cmbfit.figures.models import plot_models  # noqa: PLC0415
    from cmbfit.figures.style import save_figure  # noqa: PLC0415
    from cmbfit.fit.run import complete_run  # noqa: PLC0415
    from cmbfit.inference.model_config import models_by_data, posteriors_of  # noqa: PLC0415
    from cmbfit.inference.model_table import compare as compare_models  # noqa: PLC0415
    from cmbfit.inference.model_text import model_columns, text_table  # noqa: PLC0415

    run = complete_run(settings, transfer=transfer)
    groups = [g for g in models_by_data(run, model) if len(g) > 1]
    if not groups:
        raise ConfigError(
            "compare: there is one model for each set of data and nothing to compare; list fits of the same data in "
            "run.fits, or models in comparison.fixed"
        )
    folder, seed, where = chains or Path(run.folder) / "chains", run.seed, device or run.device
    tables = []
    for i, group in enumerate(groups):
        posteriors = posteriors_of(group, where)
        candidates = [_candidate(m, posteriors[m.name], folder, asked, seed) for m in group]
        tables.append(compare_models(candidates, np.random.default_rng([seed, i]), starts=section["starts"]))
        say(text_table(tables[-1]))
    mark_folder(output, run.blinding)
    write_json(
        output / "models.json", {"tables": tables, "provenance": provenance(inputs=[config_path(config)])}
    )
    save_figure(plot_models(tables), output / "models", model_columns(tables))
    say(f"wrote {output / 'models.json'}, models.csv and the forest plot models.png")


def _require_chains(folder: Path) -> None:
    """Refuse a folder that cannot be meant: a mistyped one would leave the table without constraints, silently."""
    if not folder.is_dir():
        raise DataError(
            f"--chains {folder}: no such folder; expected results/NAME/chains or fits/NAME/chains"
        )
    if not any(folder.glob("*.samples.h5")):
        raise DataError(f"--chains {folder}: holds no NAME.samples.h5, which `cmbfit fit` and a run write")


def _candidate(model: Any, posterior: Any, folder: Path, evidence: Any, seed: int) -> Any:
    from cmbfit.inference.model_config import candidate, model_evidence  # noqa: PLC0415
    from cmbfit.inference.products import read_samples  # noqa: PLC0415

    path, summary = (folder / f"{model.fit.name}.{kind}" for kind in ("samples.h5", "summary.json"))
    samples, n_effective = None, None
    if path.is_file():
        samples = read_samples(path)
    if summary.is_file():
        n_effective = read_json(summary)["convergence"]["effective_samples_min"]
    record = model_evidence(model, posterior, evidence, seed, samples=samples).record() if evidence else None
    return candidate(model, posterior, samples=samples, n_effective=n_effective, evidence=record)
