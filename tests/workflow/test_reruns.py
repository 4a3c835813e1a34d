"""What a change makes run again, what it leaves alone, and what is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cmbfit.config import load_config

from .conftest import ROOT, Checkout

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1200)]  # one of them waits for the run


CONFIG = ROOT / "pipeline/config/tiny.yaml"


def _would_run(checkout: Checkout, config: str = "pipeline/config/tiny.yaml") -> set[str]:
    run = checkout.snakemake("--dry-run", config=config)
    assert run.returncode == 0, run.stderr[-3000:]
    return set(re.findall(r"^(?:local)?rule (\w+):", run.stdout, re.MULTILINE)) - {"all"}


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_only_what_an_edit_touches_runs_again(finished: Checkout) -> None:
    # time stamps and a comment: nothing; a figure: that figure and the report only
    for path in (finished.root / "cmbfit").rglob("*.py"):
        os.utime(path)
    _edit(finished.root / "cmbfit/likelihood/gaussian.py", "import torch\n", "import torch  # why not\n")
    _edit(finished.root / "cmbfit/figures/reweight.py", "lw=0.8", "lw=0.9")
    assert _would_run(finished) == {"plot_reweight", "write_report", "write_crate", "gate"}
    # the likelihood: the fit and what follows, but no map and no training
    path = finished.root / "cmbfit/likelihood/gaussian.py"
    _edit(path, "-0.5 * self.chi2", "-0.50 * 1.0 * self.chi2")
    rerun = _would_run(finished)
    assert {"sample_posterior", "publish_chains", "check_likelihood", "write_report"} <= rerun
    assert not {"prepare_maps", "estimate_spectra", "compute_theory", "train_emulator", "fetch_data"} & rerun


@pytest.mark.slow  # each data set's files are in the hash of its fits: tests/provenance/test_uses.py
def test_a_description_of_data_counts_as_code(finished: Checkout) -> None:
    _edit(finished.root / "cmbfit/likelihood/datasets/planck2018_lowl_ee/dataset.yaml", "lmin: 2", "lmin: 3")
    assert "sample_posterior" in _would_run(finished)


LAST = {"write_summary", "write_report", "write_crate", "gate"}
FIT = "fits.lcdm_planck2018"
CHANGES = [
    ("maps.declare.coord", None, {"prepare_mask", "prepare_maps", "estimate_spectra"}, {"sample_posterior"}),
    ("spectra.edges", [2, 5, 9, 14, 20], {"estimate_spectra", "check_spectra"}, {"prepare_maps", "publish_chains"}),
    ("spectra.signal", ["tt"], {"check_spectra", "plot_spectra"}, {"estimate_spectra", "sample_posterior"}),
    (f"{FIT}.priors.ns", {"uniform": [0.941, 0.99]}, {"sample_posterior", "reweight"}, {"prepare_maps", "train_emulator"}),
    (f"{FIT}.sampler.max_steps", 40000, {"sample_posterior", "publish_chains"}, {"estimate_spectra", "compute_theory"}),
    (f"{FIT}.show", ["ns", "H0"], {"plot_posterior"}, {"prepare_maps", "train_emulator"}),
    ("theory.emulator.train.fit.degree", 3, {"train_emulator", "sample_posterior"}, {"compute_theory", "prepare_maps"}),
    ("theory.emulator.check.draws", 18, {"compute_exact", "reweight"}, {"sample_posterior", "publish_chains"}),
    ("comparison.starts", 3, {"compare_fits", "plot_models"}, {"sample_posterior", "compute_evidence"}),
    ("comparison.predictive.draws", 900, {"check_predictive"}, {"sample_posterior", "compare_fits"}),
    ("run.seed", 7, {"sample_posterior", "compute_exact", "compute_evidence"}, {"prepare_maps", "train_emulator"}),
]  # fmt: skip
"""A value of the tiny configuration, another one, some rules that run again, and some that must not."""


@pytest.mark.slow
@pytest.mark.parametrize(("place", "value", "again", "kept"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_changed_value_runs_again_what_sees_it_and_no_more(
    tiny_run: Checkout, tmp_path: Path, place: str, value: Any, again: set[str], kept: set[str]
) -> None:
    config = load_config([CONFIG])
    inner: Any = config
    *parents, last = place.split(".")
    for key in parents:
        inner = inner[key]
    inner[last] = value
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(config))
    rerun = _would_run(tiny_run, str(tmp_path / "changed.yaml"))
    assert again | LAST <= rerun
    assert not rerun & kept


@pytest.mark.slow
def test_an_altered_data_file_of_the_run_is_refused(finished: Checkout) -> None:
    path = finished.results / "data/wmap7/wmap_band_iqumap_r9_7yr_V_v4_udgraded32.fits"
    raw = path.read_bytes()
    path.write_bytes(raw[:-2880] + raw[-2880:][::-1])
    run = finished.snakemake("--force", "results/tiny/maps/V.fits")
    assert run.returncode != 0
    assert "altered: sha256" in run.stdout + run.stderr
    assert "Traceback" not in (finished.results / "logs/prepare_maps/V.log").read_text()


@pytest.mark.slow
def test_a_failed_check_fails_the_run_after_the_report(finished: Checkout) -> None:
    strict = finished.root / "strict.yaml"
    tiny = (finished.root / "pipeline/config/tiny.yaml").read_text()
    strict.write_text(tiny.replace("delta_chi2_95: 2.0", "delta_chi2_95: 1.0e-9"))
    # only the check whose limit changed, and what follows from it
    only = ("--rerun-triggers", "mtime", "--forcerun", "check_emulator")
    run = finished.snakemake(*only, config="strict.yaml")
    assert run.returncode != 0
    assert "FAILED emulator" in run.stdout + run.stderr
    page = (finished.results / "report" / "index.html").read_text()
    assert "checks FAILED" in page
