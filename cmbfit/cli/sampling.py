"""What ``cmbfit fit`` does without --quick: sample, publish, check, draw, report."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from cmbfit.blinded import mark_folder
from cmbfit.checkpoint import discard
from cmbfit.cli.words import say
from cmbfit.errors import KilledError, WriteError
from cmbfit.fit.build import build_posterior
from cmbfit.fit.description import Fit
from cmbfit.folders import Products
from cmbfit.inference.exports import getdist_files
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
    """Sample a fit, publish it under `folder` and print it; return the names of failed checks.

    Everything is made in a folder of its own and moved to its place at the end, when the checkpoints have served. What in
    `folder` is no product of this fit stays as it is.

    Raises
    ------
    DataError
        If files lie in the products' places that no earlier fit wrote.
    WriteError
        If another process runs this fit in this folder.
    KilledError
        If the system killed a process that samples: the checkpoints stay, and the next run goes on from them.
    """
    place = Products(folder, "chains/*.products.json", f"chains/{fit.name}.products.json")
    getdist = f"chains/getdist/{fit.name}"
    place.refuse_foreign(["", "chains", "chains/getdist", getdist, "figures", "report"], _names_of(fit.name))
    mark_folder(folder, run.blinding)
    work = folder / "checkpoints"
    new, checkpoints = (
        work / f"{fit.name}.new",
        [work / f"{fit.name}.ensemble{i}" for i in range(fit.ensembles)],
    )
    with _alone(work / f"{fit.name}.lock"):
        discard(new)  # of a killed run: the checkpoints hold its steps
        chains = [new / "chains" / f"{checkpoint.name}.h5" for checkpoint in checkpoints]
        jobs = [
            (fit, device, [run.seed, i], str(checkpoint), str(path))
            for i, (checkpoint, path) in enumerate(zip(checkpoints, chains, strict=True))
        ]
        _in_parallel(_one_ensemble, jobs)
        posterior = build_posterior(fit, device)
        root = new / "chains" / fit.name
        summary = publish_fit(
            posterior,
            fit,
            [read_chain(path)[0] for path in chains],
            samples=f"{root}.samples.h5",
            getdist_root=new / getdist / fit.name,
            arviz=f"{root}.nc",
            summary=f"{root}.summary.json",
        )
        for product in (f"{root}.samples.h5", f"{root}.nc", new / getdist):
            publish_record(product, inputs=chains, settings=posterior.settings(), relative_to=new)
        checks = fit_checks(fit, summary)
        write_checks(new / "checks.json", checks)
        figures = draw_fit(fit, posterior, chains, new)
        report_fit(run, fit, summary, figures, new)
        place.publish(new, {getdist: getdist_files(fit.name)}, lambda text: say(text, err=True))
        discard(new, *checkpoints)
    with contextlib.suppress(OSError):  # another fit's lie there
        work.rmdir()
    _print(summary, folder)
    failed = [check.name for check in checks if not check.passed]
    for text in failed:
        say(f"check failed: {text}", err=True)
    return failed


def _in_parallel(function: Callable[..., None], jobs: Sequence[tuple[Any, ...]]) -> None:
    """Call a function with each job's arguments, in a process each, as many at once as this process may use cores."""
    workers = min(len(jobs), len(os.sched_getaffinity(0)))
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for future in [pool.submit(function, *job) for job in jobs]:
                future.result()
    except BrokenProcessPool as error:
        raise KilledError(
            "a process that samples was killed, by the system if memory ran out, or by someone's signal; its steps are kept: "
            "the same command goes on from the last checkpoint. If memory ran out, run fewer ensembles at once "
            "(taskset -c 0 cmbfit fit ...)"
        ) from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock for the time of a fit; the system releases it when the process dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path, timeout=0):
            yield
            path.unlink(missing_ok=True)
    except Timeout as error:
        raise WriteError(
            f"{path.parent.parent}: another process runs this fit here; wait for it, or name another folder"
        ) from error
    except PermissionError as error:
        raise WriteError(f"{path}: cannot be written: {error}; name another folder") from error


def _names_of(name: str) -> Callable[[str], bool]:
    """Return what tells the products of a fit of this name from other files, by their paths in the folder."""
    fit, end = re.escape(name), r"(?:\.json)?"
    of_getdist = getdist_files(name)
    pattern = re.compile(
        rf"chains/{fit}\.(?:ensemble\d+\.h5{end}|samples\.h5{end}|nc{end}|getdist/{fit}\.json|summary\.json)"
        rf"|figures/(?:corner|residuals|traces|primordial)_{fit}\.(?:png|pdf|csv)"
        r"|checks\.json|summary\.json|report/(?:index\.html|parameters\.tex)|citations\.bib"
    )
    folder = f"chains/getdist/{name}/"
    return lambda path: (
        bool(pattern.fullmatch(path)) or (path.startswith(folder) and of_getdist(path.removeprefix(folder)))
    )


def _one_ensemble(fit: Fit, device: str, seed: list[int], checkpoint: str, output: str) -> None:
    """Run one ensemble in a process of its own, with one thread: small batches gain nothing from more."""
    import torch  # noqa: PLC0415 (before its threads are counted)

    torch.set_num_threads(1)
    posterior = build_posterior(fit, device)
    sample_and_publish(posterior, fit, seed, checkpoint, _code_hash(fit), output)


def _code_hash(fit: Fit) -> str:
    """Return the hash of the code that samples, and of what the fit uses."""
    return f"{code_hash(__name__)}.{fit_uses(fit).hash()}"


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
