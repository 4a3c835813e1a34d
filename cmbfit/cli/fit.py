"""``cmbfit fit``: one fit without a workflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmbfit.blinded import mark_folder
from cmbfit.cli.words import AllowCodeOption, ConfigOption, TransferOption, say
from cmbfit.errors import ConfigError
from cmbfit.io import write_json

if TYPE_CHECKING:
    from cmbfit.fit.description import Fit
    from cmbfit.fit.run import Run


def fit(
    config: Annotated[
        str, typer.Argument(help="A run's configuration: a YAML file, or a shipped one's name.")
    ],
    fit: Annotated[str | None, typer.Option(help="Name of the fit; default: the first of run.fits.")] = None,
    quick: Annotated[bool, typer.Option(help="Best fit and normal errors only, in about a second.")] = False,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="emcee, hmc, nested or tempered with its own defaults, whatever the configuration says."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default fits/NAME.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    transfer: TransferOption = None,
    changes: ConfigOption = None,
    allow_code: AllowCodeOption = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Run one fit of a configuration without Snakemake; the products are the workflow's.

    Writes chains/ (HDF5, GetDist, ArviZ, summary.json), figures/, checks.json, summary.json, report/index.html and
    citations.bib, prints the parameters and exits with 1 if a check fails. Killed runs go on from their checkpoint. Products
    of an earlier fit of that name in the folder are replaced whole, other files there stay.

    Example: cmbfit fit pipeline/config/default.yaml --quick
    """
    run, chosen = read_fit(config, changes, fit, sampler=sampler, transfer=transfer)
    folder, where = output or Path("fits") / chosen.name, device or run.device
    say(_first_line(config, chosen))
    if chosen.blind is not None:
        say("BLINDED: the parameters are shifted by a hidden amount")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if quick:
        result = _quick(chosen, where, run.seed)
        mark_folder(folder, run.blinding)
        if run.blinding is not None:
            result["blinding"] = dict(run.blinding)
        write_json(folder / "quick.json", result)
        for parameter, row in result["parameters"].items():
            say(f"{parameter:12s} {row['best']:.6g} +- {row['sigma']:.2g}")
        for parameter, value in result["derived"].items():
            say(f"{parameter:12s} {value:.6g}")
        say(f"chi2 {result['chi2']['total']:.2f}; {result['seconds']:.2f} s; wrote {folder / 'quick.json'}")
        return
    from cmbfit.cli.sampling import sample_fit  # noqa: PLC0415 (torch, emcee, matplotlib)

    if sample_fit(run, chosen, where, folder):
        raise typer.Exit(1)


def read_fit(
    config: str,
    changes: list[str] | None,
    name: str | None,
    *,
    sampler: str | None = None,
    transfer: Path | None = None,
) -> tuple[Run, Fit]:
    """Return the run of a configuration with one completed fit, by default the first of run.fits."""
    from cmbfit.config.load import load_config, parse_overrides  # noqa: PLC0415

    overrides = parse_overrides(changes or [])
    settings = load_config([config], overrides)
    name = name or str(settings["run"]["fits"][0])
    from cmbfit.fit.run import complete_run  # noqa: PLC0415 (torch: the schema was checked before it)

    if sampler is not None and name in settings["fits"]:
        section = settings["fits"][name]
        # settings of one sampler mean nothing to another
        if section.get("sampler", {}).get("kind", "emcee") != sampler:
            settings["fits"][name] = {**section, "sampler": {"kind": sampler}}
    if "train" in settings["theory"]["emulator"]:
        raise ConfigError(
            "theory.emulator.bundle: name an emulator; the configuration trains one, which is the workflow's: cmbfit run"
        )
    run = complete_run(settings, fits=[name], transfer=transfer)
    return run, run.fits[name]


def _first_line(config: str, fit: Fit) -> str:
    from cmbfit.likelihood.selection import select  # noqa: PLC0415

    data = " + ".join(s.name for s in select(fit.data))
    priors = ", ".join(f"{p} {_prior(spec)}" for p, spec in fit.priors.items())
    return f"{config}, fit {fit.name}: {fit.title}\ndata: {data}\npriors: {priors}"


def _prior(spec: Mapping[str, Any]) -> str:
    ((kind, (a, b)),) = spec.items()
    return f"[{a:g}, {b:g}]" if kind == "uniform" else f"N({a:g}, {b:g})"


def _quick(fit: Fit, device: str, seed: int) -> dict[str, Any]:
    """Best fit from four starts and the normal approximation around it."""
    import numpy as np  # noqa: PLC0415

    from cmbfit.fit.build import build_posterior, start_point  # noqa: PLC0415
    from cmbfit.inference.maximum import find_maximum, laplace_factor  # noqa: PLC0415
    from cmbfit.inference.publish import derived_columns  # noqa: PLC0415

    posterior = build_posterior(fit, device)
    begun = time.perf_counter()
    centre, scale = start_point(fit, posterior)
    best = find_maximum(posterior, centre, scale, starts=4, rng=np.random.default_rng(seed))
    factor = laplace_factor(posterior, best.point, scale)
    seconds = time.perf_counter() - begun
    theory = np.array([[best.point[p] for p in posterior.theory.parameters]])
    return {
        "fit": fit.name,
        "parameters": {
            p: {"best": best.point[p], "sigma": float(sigma)}
            for p, sigma in zip(posterior.parameters, np.sqrt(np.diag(factor @ factor.T)), strict=True)
        },
        "covariance": (factor @ factor.T).tolist(),
        "derived": {p: float(x[0]) for p, x in derived_columns(posterior, theory).items()},
        "chi2": {**best.chi2, "total": sum(best.chi2.values())},
        "log_posterior": best.log_prob,
        "starts": best.starts,
        "agreed": best.agreed,
        "evaluations": best.evaluations,
        "seconds": seconds,
        "approximation": "normal around the maximum; sample for intervals",
    }
