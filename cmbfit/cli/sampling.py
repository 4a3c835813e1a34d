"""What ``cmbfit fit`` does without --quick: sample, publish, check, draw, report."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbfit.cli.words import say
from cmbfit.fit.build import build_posterior
from cmbfit.fit.description import Fit
from cmbfit.inference.products import read_chain
from cmbfit.inference.publish import publish_fit
from cmbfit.inference.sampling import sample_and_publish
from cmbfit.io import publish_record
from cmbfit.provenance.codehash import code_hash
from cmbfit.provenance.uses import fit_uses
from cmbfit.report.checks import write_checks
from cmbfit.report.fit_checks import fit_checks
from cmbfit.report.one_fit import draw_fit, report_fit

if TYPE_CHECKING:
    from cmbfit.fit.run import Run


def sample_fit(run: Run, fit: Fit, device: str, folder: Path) -> list[str]:
    """Sample a fit, publish it under `folder` and print it; return the names of failed checks."""
    chains = [folder / "chains" / f"{fit.name}.ensemble{i}.h5" for i in range(fit.ensembles)]
    jobs = [
        (fit, device, [run.seed, i], str(folder / "checkpoints" / str(i)), str(path))
        for i, path in enumerate(chains)
    ]
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(_one_ensemble, *job) for job in jobs]:
            future.result()
    posterior = build_posterior(fit, device)
    root = folder / "chains" / fit.name
    summary = publish_fit(
        posterior,
        fit,
        [read_chain(path)[0] for path in chains],
        samples=f"{root}.samples.h5",
        getdist_root=folder / "chains" / "getdist" / fit.name / fit.name,
        arviz=f"{root}.nc",
        summary=f"{root}.summary.json",
    )
    publish_record(f"{root}.samples.h5", inputs=chains, settings=posterior.settings())
    _remove_others(chains, folder / "chains" / "getdist" / fit.name)
    checks = fit_checks(fit, summary)
    write_checks(folder / "checks.json", checks)
    figures = draw_fit(fit, posterior, chains, folder)
    report_fit(run, fit, summary, figures, folder)
    _print(summary, folder)
    failed = [check.name for check in checks if not check.passed]
    for text in failed:
        say(f"check failed: {text}", err=True)
    return failed


def _one_ensemble(fit: Fit, device: str, seed: list[int], checkpoint: str, output: str) -> None:
    """Run one ensemble in a process of its own, with one thread: small batches gain nothing from more."""
    import torch  # noqa: PLC0415 (before its threads are counted)

    torch.set_num_threads(1)
    posterior = build_posterior(fit, device)
    sample_and_publish(posterior, fit, seed, checkpoint, _code_hash(fit), output)


def _code_hash(fit: Fit) -> str:
    """Return the hash of the code that samples, and of what the fit uses."""
    return f"{code_hash(__name__)}.{fit_uses(fit).hash()}"


def _remove_others(chains: list[Path], getdist: Path) -> None:
    """Remove numbered products of an earlier run with more ensembles: they are no part of this fit."""
    stem = chains[0].name.split(".ensemble")[0]
    for path in chains[0].parent.glob(f"{stem}.ensemble*.h5*"):
        if not any(path.name.startswith(chain.name) for chain in chains):
            path.unlink()
    for path in getdist.glob(f"{stem}.*.txt"):
        number = path.stem.removeprefix(f"{stem}.")
        if number.isdecimal() and int(number) > len(chains):
            path.unlink()


def _print(summary: dict[str, Any], folder: Path) -> None:
    for parameter, row in summary["parameters"].items():
        against = "" if row["pull"] is None else f"   {row['pull']:+.2f} sigma from the reference"
        say(f"{parameter:12s} {row['mean']:.6g} +- {row['std']:.2g}{against}")
    convergence = summary["convergence"]
    agreement = convergence["r_minus_1_max"]
    say(
        f"effective samples {convergence['effective_samples_min']:.0f}, "
        f"R-1 {'untested: one ensemble' if agreement is None else format(agreement, '.1e')}; "
        f"wrote {folder}; read {folder / 'report' / 'index.html'}"
    )
