"""``cmbfit fit`` and ``cmbfit bench``: one fit without a workflow, and what the likelihood costs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

import cmbfit
from cmbfit.errors import ConfigError
from cmbfit.io import reading, write_json

if TYPE_CHECKING:
    from cmbfit.likelihood.posterior import Posterior

bench = typer.Typer(help="Measure this machine.", no_args_is_help=True)

_PACKAGE = Path(cmbfit.__file__).parent
# of the checkout, else of the installed wheel
_CONFIGS = (_PACKAGE.parent / "pipeline" / "config", _PACKAGE / "_workflow" / "pipeline" / "config")
_DEFAULTS = next((c for c in _CONFIGS if (c / "default.yaml").is_file()), _CONFIGS[0]) / "default.yaml"


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in change.items():
        old = out.get(key)
        out[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out


def read_config(path: Path) -> dict[str, Any]:
    """Read a run's configuration, merged into the default one as Snakemake does where that lies beside the package."""
    with reading(path, "YAML", ConfigError):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: expected a configuration with run, theory and fits")
    if _DEFAULTS.is_file():
        config = _merge(yaml.safe_load(_DEFAULTS.read_text(encoding="utf-8")), config)
    for section in ("run", "theory", "fits"):
        if section not in config:
            raise ConfigError(f"{path}: the section {section!r} is missing")
    return config


def choose_fit(config: Mapping[str, Any], name: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return the name and the section of one fit after looking through it; default: the first of run.fits."""
    from cmbfit.inference.sampling import settings_from_config  # noqa: PLC0415 (as below: --help stays fast)
    from cmbfit.likelihood.priors import prior_from_config  # noqa: PLC0415
    from cmbfit.likelihood.selection import select  # noqa: PLC0415
    from cmbfit.theory.parameters import unknown_name  # noqa: PLC0415

    with reading(
        f"fits.{name or '...'}", "data, priors and sampler as in the default configuration", ConfigError
    ):
        name = name or str(config["run"]["fits"][0])
        if name not in config["fits"]:
            raise ConfigError(unknown_name("fit", name, config["fits"]))
        fit = config["fits"][name]
        if "own_spectra" in fit["data"]:
            raise ConfigError(f"{name} uses own_spectra, which only the workflow makes: run snakemake")
        # a value of a wrong kind shows here, by its place, and not deep inside
        select(fit["data"])
        settings_from_config(fit["sampler"])
        for parameter, spec in fit["priors"].items():
            prior_from_config(parameter, spec)
    return name, fit


def _posterior(fit: Mapping[str, Any], emulator: str, device: str) -> Posterior:
    from cmbfit.likelihood.build import posterior_from_config  # noqa: PLC0415
    from cmbfit.likelihood.compiled import compile_if_possible  # noqa: PLC0415
    from cmbfit.likelihood.posterior import pick_device  # noqa: PLC0415
    from cmbfit.theory.select import theory_from_config  # noqa: PLC0415

    theory = theory_from_config(fit, emulator)
    return compile_if_possible(posterior_from_config(fit, theory)).to(pick_device(device))


def _code_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _one_ensemble(
    fit: dict[str, Any], emulator: str, device: str, seed: list[int], checkpoint: str, output: str
) -> None:
    """Run one ensemble in a process of its own, with one thread: small batches gain nothing from more."""
    import torch  # noqa: PLC0415

    from cmbfit.inference.sampling import sample_and_publish  # noqa: PLC0415

    torch.set_num_threads(1)
    posterior = _posterior(fit, emulator, device)
    sample_and_publish(posterior, fit, seed, checkpoint, _code_hash(), output)


def _quick(name: str, fit: dict[str, Any], emulator: str, device: str, seed: int) -> dict[str, Any]:
    """Best fit from four starts and the normal approximation around it."""
    import numpy as np  # noqa: PLC0415

    from cmbfit.inference.maximum import find_maximum, laplace_factor  # noqa: PLC0415
    from cmbfit.inference.publish import derived_columns  # noqa: PLC0415
    from cmbfit.likelihood.build import start_from_config  # noqa: PLC0415

    posterior = _posterior(fit, emulator, device)
    begun = time.perf_counter()
    centre, scale = start_from_config(fit, posterior)
    best = find_maximum(posterior, centre, scale, starts=4, rng=np.random.default_rng(seed))
    factor = laplace_factor(posterior, best.point, scale)
    seconds = time.perf_counter() - begun
    theory = np.array([[best.point[p] for p in posterior.theory.parameters]])
    return {
        "fit": name,
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


def fit(
    config: Annotated[Path, typer.Argument(help="A run's configuration (YAML).")],
    fit: Annotated[str | None, typer.Option(help="Name of the fit; default: the first of run.fits.")] = None,
    quick: Annotated[bool, typer.Option(help="Best fit and normal errors only, in about a second.")] = False,
    sampler: Annotated[
        str | None, typer.Option(help="emcee or hmc, whatever the configuration says.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default fits/NAME.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    transfer: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a run's transfer functions (results/.../theory/transfer), for primordial models."
        ),
    ] = None,
) -> None:
    """Run one fit of a configuration without Snakemake; the products are the workflow's.

    Writes chains/ (HDF5, GetDist, ArviZ, summary.json) and checks.json, prints the parameters and exits
    with 1 if a check fails. Killed runs go on from their checkpoint.

    Example: cmbfit fit pipeline/config/default.yaml --quick
    """
    settings = read_config(config)
    name, section = choose_fit(settings, fit)
    if sampler is not None:
        section = {**section, "sampler": {**section["sampler"], "kind": sampler}}
    if transfer is not None:
        section = {**section, "theory": {**section.get("theory", {}), "transfer": str(transfer)}}
    emulator = settings["theory"]["emulator"].get("bundle")
    if emulator is None:
        raise ConfigError("theory.emulator.bundle: name an emulator; training is the workflow's")
    folder = output or Path("fits") / name
    where = device or settings.get("device", "auto")
    seed = int(settings["run"]["seed"])
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if quick:
        result = _quick(name, section, emulator, where, seed)
        write_json(folder / "quick.json", result)
        for parameter, row in result["parameters"].items():
            typer.echo(f"{parameter:12s} {row['best']:.6g} +- {row['sigma']:.2g}")
        for parameter, value in result["derived"].items():
            typer.echo(f"{parameter:12s} {value:.6g}")
        typer.echo(
            f"chi2 {result['chi2']['total']:.2f}; {result['seconds']:.2f} s; wrote {folder / 'quick.json'}"
        )
        return
    failed = _full(name, section, emulator, where, seed, folder)
    if failed:
        raise typer.Exit(1)


def _full(
    name: str, section: dict[str, Any], emulator: str, device: str, seed: int, folder: Path
) -> list[str]:
    """Sample, publish, print; return the names of failed checks."""
    from cmbfit.inference.products import read_chain  # noqa: PLC0415
    from cmbfit.inference.publish import publish_fit  # noqa: PLC0415
    from cmbfit.inference.sampling import settings_from_config  # noqa: PLC0415
    from cmbfit.io import publish_record  # noqa: PLC0415
    from cmbfit.report.checks import write_checks  # noqa: PLC0415
    from cmbfit.report.fit_checks import fit_checks  # noqa: PLC0415

    settings_from_config(section["sampler"])  # a mistake shows here, not in a process
    chains = [folder / "chains" / f"{name}.ensemble{i}.h5" for i in range(section["ensembles"])]
    jobs = [
        (section, emulator, device, [seed, i], str(folder / "checkpoints" / str(i)), str(path))
        for i, path in enumerate(chains)
    ]
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(_one_ensemble, *job) for job in jobs]:
            future.result()
    posterior = _posterior(section, emulator, device)
    root = folder / "chains" / name
    summary = publish_fit(
        posterior,
        section,
        [read_chain(path)[0] for path in chains],
        samples=f"{root}.samples.h5",
        getdist_root=folder / "chains" / "getdist" / name / name,
        arviz=f"{root}.nc",
        summary=f"{root}.summary.json",
    )
    publish_record(f"{root}.samples.h5", inputs=chains, settings=posterior.settings())
    checks = fit_checks(section, summary)
    write_checks(folder / "checks.json", checks)
    for parameter, row in summary["parameters"].items():
        against = "" if row["pull"] is None else f"   {row['pull']:+.2f} sigma from the reference"
        typer.echo(f"{parameter:12s} {row['mean']:.6g} +- {row['std']:.2g}{against}")
    convergence = summary["convergence"]
    typer.echo(
        f"effective samples {convergence['effective_samples_min']:.0f}, R-1 {convergence['r_minus_1_max']:.1e}; "
        f"wrote {folder}"
    )
    failed = [check.name for check in checks if not check.passed]
    for text in failed:
        typer.echo(f"check failed: {text}", err=True)
    return failed


@bench.command()
def likelihood(
    batch: Annotated[
        list[int] | None, typer.Option(help="Points at once; repeat. Default: 1 to 8192.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Torch threads; default: all cores.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are reported.")] = 5,
    seconds: Annotated[float, typer.Option(help="Time of each measurement.")] = 0.5,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.")] = None,
) -> None:
    """Posterior evaluations per second by batch size, with peers that are installed, as JSON.

    Planck 2018: emulator, plik-lite TTTEEE, low-l TT, low-l EE and priors, with and without gradients.
    """
    from cmbfit.inference.benchmark import benchmark_likelihood  # noqa: PLC0415

    result = benchmark_likelihood(
        batch or [2**k for k in range(14)], threads=threads, device=device, rounds=rounds, seconds=seconds
    )
    if output is not None:
        write_json(output, result)
    typer.echo(json.dumps(result, indent=2))
