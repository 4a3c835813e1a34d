"""Command line: train, fine-tune, evaluate and describe emulators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cmbfit.cli.words import say
from cmbfit.errors import ConfigError

app = typer.Typer(help="Train, fine-tune, evaluate and describe emulators.", no_args_is_help=True)

Chunks = Annotated[list[Path], typer.Argument(help="Chunks of a training set (.npz), of one design.")]
HeldOut = Annotated[float, typer.Option(help="Fraction of backgrounds kept for the test.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the new bundle.")]


def _json_option(text: str, option: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{option}: expected a JSON object, found {text!r} ({error})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{option}: expected a JSON object, found {text!r}")
    return value


def _print_accuracy(accuracy: dict[str, Any]) -> None:
    for where, title in (("overall", "box"), ("focus", "focus")):
        part = accuracy.get("focus", {}) if where == "focus" else accuracy
        if "overall" not in part:
            continue
        say(f"|delta D_l| / sigma_CV at {part['n_points']} held-out points of the {title}:")
        for pair, (p68, p95, p99, worst) in part["overall"].items():
            say(f"  {pair}: 68% {p68:.4f}, 95% {p95:.4f}, 99% {p99:.4f}, max {worst:.3f}")


def _print_extension(manifest: dict[str, Any]) -> None:
    """Say what a correction starts from, and what its parameters mean."""
    if "correction" not in manifest:
        return
    from cmbfit.theory.extensions import EXTENSIONS  # noqa: PLC0415

    record = manifest["correction"]
    base = manifest.get("base", {}).get("bundle", "an emulator that it holds itself")
    say(f"a correction of {base}, which it equals at the values in brackets:")
    for name, values in record["base_values"].items():
        start = f"{values[0]:g}" if len(values) == 1 else "nucleosynthesis'"
        say(f"  {name} ({start}): {EXTENSIONS[name].meaning}")
    if {"w", "wa"} & set(record["base_values"]):
        say("  dark energy by PPF, which crosses w = -1")
    for half in record.get("half_spaces", []):
        say(f"  refused: {' + '.join(half['sum'])} above {half['below']:g}")


def _print_family() -> None:
    """Print the shipped emulators: parameters beyond LCDM with their ranges, and the worst error at 99% of the focus."""
    from cmbfit.theory.emulator.family import beyond_lcdm, bundle_box, read_manifest  # noqa: PLC0415
    from cmbfit.theory.emulator.manifest import shipped_bundles  # noqa: PLC0415

    for name in shipped_bundles():
        manifest = read_manifest(name)
        box, accuracy = bundle_box(manifest), manifest["accuracy"]
        extra = ", ".join(f"{p} {box[p][0]:g} to {box[p][1]:g}" for p in beyond_lcdm(box)) or "LCDM"
        worst = max(x[2] for x in accuracy.get("focus", accuracy)["overall"].values())
        say(f"{name}: {extra}; to l = {manifest['lmax']}; errors below {worst:.3f} sigma_CV (99%, focus)")


@app.command()
def info(
    emulator: Annotated[
        str | None,
        typer.Argument(
            help="Name of a shipped emulator, or a bundle's folder; without it, a line for each shipped one."
        ),
    ] = None,
) -> None:
    """Check a bundle and say what it is: parameters and box, spectra, training, measured errors, |delta chi2|."""
    if emulator is None:
        _print_family()
        return
    from cmbfit.theory.emulator.bundle import load_emulator, read_arrays  # noqa: PLC0415
    from cmbfit.theory.emulator.manifest import bundle_folder  # noqa: PLC0415

    folder = bundle_folder(emulator)
    loaded = load_emulator(folder)
    manifest, _ = read_arrays(folder)
    say(f"{folder.name}: {manifest['format']} version {manifest['version']}, cmbfit {manifest['cmbfit']}")
    for name, (low, high) in loaded.box.items():
        say(f"  {name}: {low:g} to {high:g}")
    pairs = [pair for block in manifest["blocks"].values() for pair in block["pairs"]]
    say(
        f"spectra: {' '.join(dict.fromkeys(pairs))} to l = {loaded.lmax}; blocks: {', '.join(manifest['blocks'])}"
    )
    say(f"derived: {' '.join(manifest['derived'])}")
    settings = manifest["settings"]
    cost = f", {settings['cpu_seconds']:.0f} CPU seconds" if "cpu_seconds" in settings else ""
    say(f"trained on {settings['n_spectra']} spectra ({settings['n_failed_points']} points failed){cost}")
    say("  " + ", ".join(f"{k}={v}" for k, v in settings["trained_on"]["camb"].items()))
    _print_extension(manifest)
    _print_accuracy(manifest["accuracy"])
    for name, error in manifest["accuracy"]["chi2"].items():
        near = error.get("focus_p95_about_mean")
        focus = "" if near is None else f"; about its mean over the focus, 95% {near:.3f}"
        say(
            f"|delta chi2| of {name}: median {error['median']:.3f}, 95% {error['p95']:.2f}, max {error['max']:.1f}{focus}"
        )


@app.command()
def evaluate(
    emulator: Annotated[str, typer.Argument(help="Name of a shipped emulator, or a bundle's folder.")],
    chunks: Chunks,
) -> None:
    """Compare an emulator with exact spectra and print the errors as JSON.

    Points outside the emulator's box are left out and counted.
    """
    import numpy as np  # noqa: PLC0415

    from cmbfit.errors import DataError  # noqa: PLC0415
    from cmbfit.theory.emulator.accuracy import PERCENTILES, measure  # noqa: PLC0415
    from cmbfit.theory.emulator.bundle import load_emulator  # noqa: PLC0415
    from cmbfit.theory.emulator.trainingset import read_training_set  # noqa: PLC0415

    loaded, exact = load_emulator(emulator), read_training_set(chunks)
    if exact.names != loaded.parameters:
        raise DataError(
            f"the chunks vary {', '.join(exact.names)}, the emulator {', '.join(loaded.parameters)}: "
            "compare like with like"
        )
    low, high = np.array(list(loaded.box.values())).T
    inside = ((exact.theta >= low) & (exact.theta <= high)).all(1)
    if not inside.any():
        raise DataError("none of the chunks' points lies inside the emulator's box")
    part = exact.select(inside)
    accuracy = measure(loaded, part.theta, part.dl, part.derived)
    record = {
        "n_points": accuracy.n_points,
        "n_outside_box": int((~inside).sum()),
        "percentiles": list(PERCENTILES),
        "sigma_cv": accuracy.overall,
        "derived_max_relative": accuracy.derived,
    }
    say(json.dumps(record, indent=2))


@app.command()
def train(
    chunks: Chunks,
    output: Output,
    fit: Annotated[str, typer.Option(help="JSON: fields of FitSettings (degree, weights, ...).")] = "{}",
    held_out: HeldOut = 0.1,
) -> None:
    """Train a base emulator from chunks of Boltzmann spectra and measure it on held-out backgrounds."""
    from cmbfit.theory.emulator.publish import train_bundle  # noqa: PLC0415
    from cmbfit.theory.emulator.train import fit_settings  # noqa: PLC0415
    from cmbfit.theory.emulator.trainingset import read_training_set  # noqa: PLC0415

    settings = fit_settings(_json_option(fit, "--fit"))
    _print_accuracy(train_bundle(output, read_training_set(chunks), settings, held_out))


@app.command()
def finetune(
    chunks: Chunks,
    output: Output,
    base: Annotated[str, typer.Option(help="Base emulator: a shipped name or a folder.")] = "lcdm_planck2018",
    method: Annotated[
        str, typer.Option(help="quadratic, polynomial, scratch, last_layer, low_rank or all_weights.")
    ] = "polynomial",
    held_out: HeldOut = 0.2,
) -> None:
    """Extend a base emulator to the parameters that the chunks vary (nnu, mnu, ...)."""
    from cmbfit.errors import BundleError  # noqa: PLC0415
    from cmbfit.theory.emulator.bundle import load_emulator  # noqa: PLC0415
    from cmbfit.theory.emulator.finetune import FineTuneSettings  # noqa: PLC0415
    from cmbfit.theory.emulator.linear import LinearEmulator  # noqa: PLC0415
    from cmbfit.theory.emulator.publish import finetune_bundle  # noqa: PLC0415
    from cmbfit.theory.emulator.trainingset import read_training_set  # noqa: PLC0415

    loaded = load_emulator(base)
    if not isinstance(loaded, LinearEmulator):
        raise BundleError(f"{base} is itself corrected; start from a base emulator")
    runs = read_training_set(chunks)
    _print_accuracy(finetune_bundle(output, loaded, runs, FineTuneSettings(method=method), held_out))
