"""A survey's configuration on stand-ins: written, served on this machine, pinned, fetched, run."""

from __future__ import annotations

import contextlib
import functools
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cmbfit.io import write_json
from pipeline.compute_fiducial import compute_fiducial
from pipeline.make_standins import make_standins, merged

from .conftest import ROOT
from .graph import graph_of
from .inprocess import run_here

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


def fiducial_spectra(folder: Path, config: dict[str, Any]) -> Path:
    """Compute a configuration's fiducial spectra, of which the stand-ins are made."""
    parts = {}
    for key in ("fiducial", "camb"):
        parts[key] = folder / f"{key}.json"
        write_json(parts[key], config["theory"][key])
    compute_fiducial(parameters=parts["fiducial"], camb=parts["camb"], output=folder / "theory.txt")
    return folder / "theory.txt"


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
    files = [DEFAULT, *configs]
    config, served = merged(files), folder / "served"
    name, theory = config["run"]["name"], fiducial_spectra(folder, config)
    served.mkdir()
    with serving(served) as url:
        overlay = folder / "overlay.yaml"
        make_standins(
            config=files,
            theory=theory,
            folder=served,
            overlay=overlay,
            url=url,
            nside=nside,
            foregrounds=foregrounds,
        )
        patch.setenv("CMBFIT_REGISTRY", str(overlay))
        graph = graph_of(folder, configs, [f"results/{name}/{t}" for t in targets])
        jobs = graph.jobs
        patch.chdir(folder)
        graph.sections.write()
        # the theory of the sky is that of the run: computed once
        (fiducial,) = [j for j in jobs if j.rule == "compute_fiducial"]
        (folder / fiducial.outputs[0]).parent.mkdir(parents=True)
        shutil.copyfile(theory, folder / fiducial.outputs[0])
        run_here([j for j in jobs if j is not fiducial], folder, patch)
    return Run(folder / "results" / name, folder / "cache")
