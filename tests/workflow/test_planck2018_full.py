"""The planck2018 configuration as shipped, nside 2048, on stand-ins of the released files and sizes: from downloads to the fit.

35 GB of disk. CMBFIT_FULL_RUN=FOLDER keeps the run there, and goes on where an earlier one stopped.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from cmbfit.inference.products import read_samples
from cmbfit.spectra import read_spectra
from cmbfit.survey.config import Survey
from cmbfit.theory.textfile import read_arrays
from pipeline.make_standins import merged
from tests.conftest import ROOT

from .standins import DEFAULT, Once, fiducial_spectra, serving

pytestmark = [pytest.mark.workflow, pytest.mark.slow, pytest.mark.timeout(10800)]
CONFIG = ROOT / "pipeline/config/planck2018.yaml"
RESULTS = "results/planck2018"
FIT = "lcdm_planck2018_own"
TARGETS = [
    *(f"{RESULTS}/figures/{f}.png" for f in ("nulls", "maps", "spectra")),
    f"{RESULTS}/checks/spectra.json",
    f"{RESULTS}/checks/chains_{FIT}.json",
]


def say(text: str) -> None:
    """Report a measured number (shown by pytest -s)."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(folder: Path, *words: str) -> None:
    """Run a module of this Python in the folder."""
    environment = {
        **{k: v for k, v in os.environ.items() if k != "CMBFIT_DATA"},
        "PYTHONPATH": str(ROOT),
        "CMBFIT_CACHE": str(folder / "cache"),
        "CMBFIT_REGISTRY": str(folder / "overlay.yaml"),
    }
    if words[0] != "snakemake":
        environment.pop("CMBFIT_REGISTRY")
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def make_files(folder: Path) -> None:
    """Write the stand-ins, unless an earlier run did."""
    if (folder / "overlay.yaml").exists():
        return
    shutil.rmtree(folder / "served", ignore_errors=True)
    fiducial_spectra(folder, merged([DEFAULT, CONFIG]))
    # the configuration has no model of foregrounds
    run(
        folder, "pipeline", "make_standins", "--config", str(DEFAULT), str(CONFIG), "--theory", "theory.txt",
        "--folder", "served", "--foregrounds", "0", "--overlay", "overlay.yaml",
    )  # fmt: skip


def snakemake(folder: Path, *targets: str) -> None:
    run(
        folder, "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1", "--rerun-incomplete", "--show-failed-logs",
        *targets, "--configfile", str(CONFIG),
    )  # fmt: skip


def fetch_files(folder: Path) -> None:
    """Download everything from a server on this machine; neither its copies nor the cache's are kept."""
    names = Survey(merged([DEFAULT, CONFIG])["maps"]).files
    wanted = [f"{RESULTS}/data/{n}" for n in names]
    if all((folder / w).exists() for w in wanted):
        return
    overlay = yaml.safe_load((folder / "overlay.yaml").read_text(encoding="utf-8"))
    with serving(folder / "served", Once) as url:
        overlay["mirrors"] = {s: f"{url}/{m.split('/', 3)[3]}" for s, m in overlay["mirrors"].items()}
        (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False), encoding="utf-8")
        snakemake(folder, *wanted)
    assert not list((folder / "served").rglob("*.fits"))  # all were asked for
    shutil.rmtree(folder / "cache")


def costs(folder: Path) -> dict[str, tuple[int, float, float]]:
    """Return of each rule that is measured: its jobs, CPU seconds in all, largest memory in GB."""
    found = defaultdict(list)
    benchmarks = folder / RESULTS / "benchmarks"
    for path in sorted(benchmarks.rglob("*.jsonl")):
        found[path.relative_to(benchmarks).parts[0].removesuffix(".jsonl")].append(
            json.loads(path.read_text())
        )
    return {
        rule: (
            len(rows),
            sum(float(r["cpu_time"]) for r in rows),
            max(float(r["max_rss"]) for r in rows) / 1024,
        )
        for rule, rows in found.items()
    }


def test_full_size(tmp_path: Path) -> None:
    folder = Path(os.environ.get("CMBFIT_FULL_RUN", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    for stage in (make_files, fetch_files, lambda f: snakemake(f, *TARGETS)):
        stage(folder)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        say(f"CPU {used.ru_utime + used.ru_stime:.0f} s, peak {used.ru_maxrss / 2**20:.1f} GB")
    for rule, (n, cpu, memory) in costs(folder).items():
        say(f"{rule}: {n} jobs, CPU {cpu:.0f} s, {memory:.1f} GB")
    results = folder / RESULTS
    data = read_spectra(results / "spectra/combined.sacc.fits")
    theory = read_arrays(results / "theory/fiducial.txt")
    binned = data.theory({k: theory[k] for k in ("tt", "te", "ee", "bb")})
    for name in data.names:
        chi2, dof = data.chi2(name, binned[name] if name in ("tt", "te", "ee", "bb") else None)
        say(f"{name}: chi2 {chi2:.1f} / {dof}")
        # four standard deviations of chi2 of some 217 bandpowers
        assert abs(chi2 - dof) < 4 * (2 * dof) ** 0.5, (name, chi2, dof)
    checks = [
        c
        for name in ("pairs", "nulls", "spectra", f"chains_{FIT}")
        for c in json.loads((results / f"checks/{name}.json").read_text())["checks"]
    ]
    for c in checks:
        say(f"{c['name']}: {c['value']:.4g} {c['pass']} {c.get('comment', '')}")
    samples = read_samples(results / f"chains/{FIT}.samples.h5")
    values = np.concatenate(samples.values)[:, : samples.n_sampled]
    parameters = merged([DEFAULT, CONFIG])["theory"]["fiducial"]
    delta = values.mean(axis=0) - [parameters[n] for n in samples.names[: samples.n_sampled]]
    chi2 = float(delta @ np.linalg.solve(np.cov(values.T), delta))
    say(f"{samples.names[: samples.n_sampled]}, mean - truth: chi2 {chi2:.1f} / {delta.size}")
    assert chi2 < 22.5  # six parameters: one in a thousand
    # the fit's checks hold each mean within three widths of the reference, which is what made the sky
    assert not [c for c in checks if not c["pass"]]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20 < 12
    shutil.rmtree(tmp_path, ignore_errors=True)
