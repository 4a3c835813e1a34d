"""A survey's configuration on stand-ins: written, served on this machine, pinned, fetched, run."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.make_standins import merged

from .conftest import ROOT
from .inprocess import jobs_of, run_here

DEFAULT = ROOT / "pipeline/config/default.yaml"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Once(Quiet):
    """Gives each file away: of files of gigabytes one copy is enough."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        super().copyfile(source, outputfile)
        Path(source.name).unlink()


@contextlib.contextmanager
def serving(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[str]:
    """Serve a folder on this machine; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Run:
    """A finished run: its results and the cache of what was downloaded for it."""

    results: Path
    cache: Path


def call(module: str, *words: str) -> None:
    """Run an entry point in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *words])
        importlib.import_module(f"pipeline.{module}").main()


def run_on_standins(
    folder: Path,
    configs: Sequence[Path],
    targets: Sequence[str],
    nside: int | None,
    foregrounds: float,
    patch: pytest.MonkeyPatch,
) -> Run:
    """Make the targets of a configuration from stand-ins, every job in this process.

    `nside` is that of all maps, the releases' own when None.
    """
    patch.setenv("CMBFIT_CACHE", str(folder / "cache"))
    patch.delenv("CMBFIT_DATA", raising=False)
    patch.delenv("CMBFIT_REGISTRY", raising=False)
    files = [str(p) for p in (DEFAULT, *configs)]
    config, theory, served = merged(files), folder / "theory.txt", folder / "served"
    name = config["run"]["name"]
    parameters, camb = json.dumps(config["theory"]["fiducial"]), json.dumps(config["theory"]["camb"])
    call("compute_fiducial", "--parameters", parameters, "--camb", camb, "--output", str(theory))
    served.mkdir()
    with serving(served) as url:
        call(
            "make_standins", "--config", *files, "--theory", str(theory), "--folder", str(served),
            *(["--nside", str(nside)] if nside else []),
            "--foregrounds", str(foregrounds), "--overlay", str(folder / "overlay.yaml"), "--url", url,
        )  # fmt: skip
        patch.setenv("CMBFIT_REGISTRY", str(folder / "overlay.yaml"))
        graph = subprocess.run(
            [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1", "--dry-run",
             "--printshellcmds", *(f"results/{name}/{t}" for t in targets), "--configfile", *map(str, configs)],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert graph.returncode == 0, (graph.stdout + graph.stderr)[-3000:]
        jobs = jobs_of(graph.stdout + graph.stderr)
        # the theory of the sky is that of the run: computed once
        (fiducial,) = [j for j in jobs if j.rule == "compute_fiducial"]
        (folder / fiducial.outputs[0]).parent.mkdir(parents=True)
        shutil.copyfile(theory, folder / fiducial.outputs[0])
        run_here([j for j in jobs if j is not fiducial], folder, patch)
    return Run(folder / "results" / name, folder / "cache")
