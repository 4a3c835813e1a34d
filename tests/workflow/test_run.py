"""The tiny configuration from maps to report, what reruns, and what survives a kill."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import sacc

from .conftest import Checkout

pytestmark = pytest.mark.workflow


def _results(checkout: Checkout) -> Path:
    return checkout.root / "results" / "tiny"


def _would_run(checkout: Checkout, *words: str) -> set[str]:
    run = checkout.snakemake("--dry-run", *words)
    assert run.returncode == 0, run.stderr[-3000:]
    return set(re.findall(r"^(?:local)?rule (\w+):", run.stdout, re.MULTILINE)) - {"all"}


def test_summary_carries_parameters_checks_and_provenance(finished: Checkout) -> None:
    summary = json.loads((_results(finished) / "summary.json").read_text())
    fit = summary["fits"]["lcdm_planck2018"]
    for name in ("ombh2", "omch2", "theta_mc", "tau", "logA", "ns", "A_planck", "H0", "sigma8"):
        entry = fit["parameters"][name]
        assert entry["q16"] < entry["q50"] < entry["q84"]
    # Planck 2018 VI table 2, TT,TE,EE+lowE: a short chain has its own scatter of about 0.1 sigma
    for name, mean, sigma in (("ombh2", 0.02236, 0.00015), ("ns", 0.9649, 0.0044), ("H0", 67.27, 0.60)):
        assert abs(fit["parameters"][name]["mean"] - mean) < 0.6 * sigma
        assert fit["parameters"][name]["reference"] == mean
    assert set(fit["chi2"]) >= {"planck2018_plik_lite_ttteee", "planck2018_lowl_ee"}
    assert all(c["pass"] for c in summary["checks"])
    assert {"name", "value", "tolerance", "pass"} <= set(summary["checks"][0])
    assert summary["provenance"]["emulator"]["settings"]["trained_on"]["camb"]["halofit"] == "mead2016"


def test_products_have_the_documented_formats(finished: Checkout) -> None:
    results = _results(finished)
    spectra = sacc.Sacc.load_fits(str(results / "spectra" / "VxW.sacc.fits"))
    assert spectra.covariance.covmat.shape[0] == len(spectra.mean) >= 54
    for figure in (
        "maps",
        "mask",
        "spectra",
        "lowl",
        "lowl_maps",
        *(f"{k}_lcdm_planck2018" for k in ("corner", "traces", "residuals", "emulator", "reweight")),
    ):
        stem = results / "figures" / figure
        assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        with stem.with_suffix(".csv").open() as f:
            rows = list(csv.reader(f))
        assert len(rows) > 5
        assert len({len(r) for r in rows}) == 1
    page = (results / "report" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 12
    assert not re.search(r"(src|href)=\"https?://", page)
    records = list(results.rglob("*.fits.json"))
    assert records
    assert all(json.loads(r.read_text())["inputs"] for r in records)


def test_every_link_of_the_report_resolves(finished: Checkout) -> None:
    """Numbers, figures, logs and costs link to files that are there, and contents to sections."""
    page = _results(finished) / "report" / "index.html"
    text = page.read_text()
    links = set(re.findall(r'href="([^"]+)"', text)) - {"data:,"}
    assert len([x for x in links if x.startswith("../logs/")]) > 10
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in text, link
        else:
            assert (page.parent / link).is_file(), link


def test_the_run_is_recorded_and_would_repeat(finished: Checkout) -> None:
    results = _results(finished)
    graph = json.loads((results / "ro-crate-metadata.json").read_text())["@graph"]
    files = {e["@id"]: e for e in graph if e.get("@type") == "File"}
    assert {"summary.json", "report/index.html", "chains/lcdm_planck2018.samples.h5"} <= set(files)
    assert files["checks/spectra.json"]["description"] == "written by the rule check_spectra"
    assert "@article{jarosik2011," in (results / "citations.bib").read_text()
    run = subprocess.run(
        [sys.executable, "-c", "from cmbfit.cli import main; main()", "reproduce", "results/tiny"],
        cwd=finished.root, env=finished.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "would repeat the run exactly" in run.stdout


def test_a_second_run_has_nothing_to_do(finished: Checkout) -> None:
    assert _would_run(finished) == set()
    for path in (finished.root / "cmbfit").rglob("*.py"):
        os.utime(path)
    assert _would_run(finished) == set()


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_only_what_an_edit_touches_runs_again(finished: Checkout, tmp_path: Path) -> None:
    kept = tmp_path / "cmbfit"
    shutil.copytree(finished.root / "cmbfit", kept)
    try:
        # a comment in an unrelated module
        _edit(finished.root / "cmbfit/likelihood/gaussian.py", "import torch\n", "import torch  # why not\n")
        assert _would_run(finished) == set()
        # the likelihood: the fit and what follows, but no map and no training
        _edit(finished.root / "cmbfit/likelihood/gaussian.py", "-0.5 * self.chi2", "-0.50 * 1.0 * self.chi2")
        rerun = _would_run(finished)
        assert {"sample_posterior", "publish_chains", "check_likelihood", "write_report"} <= rerun
        assert (
            not {"prepare_maps", "estimate_spectra", "compute_theory", "train_emulator", "fetch_data"} & rerun
        )
        shutil.copy(kept / "likelihood/gaussian.py", finished.root / "cmbfit/likelihood/gaussian.py")
        assert _would_run(finished) == set()
        # a data set's description counts as code
        _edit(
            finished.root / "cmbfit/likelihood/datasets/planck2018_lowl_ee/dataset.yaml", "lmin: 2", "lmin: 3"
        )
        assert "sample_posterior" in _would_run(finished)
        shutil.copytree(kept, finished.root / "cmbfit", dirs_exist_ok=True)
        # a figure: that figure and the report only
        _edit(finished.root / "cmbfit/figures/residuals.py", "lw=1.2", "lw=1.3")
        assert _would_run(finished) == {"plot_residuals", "write_report", "write_crate", "gate"}
    finally:
        shutil.copytree(kept, finished.root / "cmbfit", dirs_exist_ok=True)


@pytest.mark.parametrize(
    "killed",
    [
        "machine",
        pytest.param("stage", marks=pytest.mark.slow),
        pytest.param("driver", marks=pytest.mark.slow),
    ],
)
def test_a_killed_fit_resumes_to_the_same_chain(finished: Checkout, killed: str) -> None:
    """SIGKILL in the middle of the chain; the resumed chain is bit-identical.

    The machine dies: driver and jobs together. A stage dies: the driver reports it. The driver dies: its job
    goes on as an orphan, and the next driver's job writes the same checkpoint beside it.
    """
    results = _results(finished)
    target = results / "chains" / "lcdm_planck2018.ensemble0.h5"
    checkpoint = results / "checkpoints" / "lcdm_planck2018.ensemble0"
    with h5py.File(target) as f:
        undisturbed = f["samples"][()]
    for path in (target, target.with_name(target.name + ".json")):
        path.unlink()
    assert not checkpoint.exists(), "a published chain keeps no checkpoint"
    relative = str(target.relative_to(finished.root))
    driver = subprocess.Popen(
        finished.command(relative, config="pipeline/config/tiny.yaml"),
        cwd=finished.root,
        env=finished.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(checkpoint.rglob("block_*.npz")):
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.02)
    os.killpg(driver.pid, signal.SIGSTOP)  # no step is made meanwhile
    refused = finished.snakemake(relative)
    os.killpg(driver.pid, signal.SIGCONT)
    assert refused.returncode != 0
    assert "cannot be locked" in refused.stdout + refused.stderr, "two drivers at once"
    if killed == "machine":
        os.killpg(driver.pid, signal.SIGKILL)
    elif killed == "driver":
        driver.kill()
    else:
        os.kill(_process(driver.pid, "pipeline.sample_posterior"), signal.SIGKILL)
    code = driver.wait(timeout=120)
    if killed != "driver":
        time.sleep(1)
        assert not target.exists(), "the run ended before it was killed: make the chain longer"
    assert code == (1 if killed == "stage" else -9)
    blocks = len(list(checkpoint.rglob("block_*.npz")))
    assert finished.snakemake("--unlock").returncode == 0
    again = finished.snakemake("--rerun-incomplete", relative)
    assert again.returncode == 0, again.stderr[-3000:]
    with h5py.File(target) as f:
        resumed = f["samples"][()]
    np.testing.assert_array_equal(resumed, undisturbed)
    log = (results / "logs/sample_posterior/lcdm_planck2018.ensemble0.log").read_text()
    if killed != "driver":  # where the orphan was faster, nothing is left to resume
        assert "resuming after" in log
        assert 0 < blocks < len(undisturbed) // 200 + 1


def _process(group: int, words: str) -> int:
    """Return the Python process of a group whose command line has some words."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if os.getpgid(int(entry.name)) == group and words in command and "bash" not in command:
                return int(entry.name)
    raise AssertionError(f"no process {words}")


def test_raising_max_steps_goes_on_from_the_checkpoint(finished: Checkout) -> None:
    """A chain that stopped short is continued, not begun again, and ends as if it had never stopped."""
    target = _results(finished) / "chains" / "lcdm_planck2018.ensemble0.h5"
    with h5py.File(target) as f:
        undisturbed = f["samples"][()]
    kept = {path: path.read_bytes() for path in (target, target.with_name(target.name + ".json"))}
    tiny = (finished.root / "pipeline/config/tiny.yaml").read_text()
    log = _results(finished) / "logs/sample_posterior/lcdm_planck2018.ensemble0.log"
    try:
        target.unlink()
        short = tiny.replace("      block_steps: 200\n", "      block_steps: 200\n      max_steps: 400\n")
        assert short != tiny
        (finished.root / "short.yaml").write_text(short)
        run = finished.snakemake(str(target.relative_to(finished.root)), config="short.yaml")
        assert run.returncode != 0
        assert "max_steps" in log.read_text()
        run = finished.snakemake(str(target.relative_to(finished.root)))
        assert run.returncode == 0, run.stderr[-3000:]
        assert "resuming after 400 steps" in log.read_text()
        with h5py.File(target) as f:
            np.testing.assert_array_equal(f["samples"][()], undisturbed)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def test_changed_inputs_give_a_new_chain_beside_an_unfinished_one(finished: Checkout) -> None:
    """A checkpoint of another seed lies there: it is neither resumed nor in the way."""
    target = _results(finished) / "chains" / "lcdm_planck2018.ensemble1.h5"
    folder = _results(finished) / "checkpoints" / "lcdm_planck2018.ensemble1"
    with h5py.File(target) as f:
        before = f["samples"][:100]
    saved = target.read_bytes()
    (folder / "of-other-inputs").mkdir(parents=True)
    (folder / "of-other-inputs" / "block_00000.npz").write_bytes(b"unfinished")
    tiny = (finished.root / "pipeline/config/tiny.yaml").read_text()
    (finished.root / "seed.yaml").write_text(tiny.replace("  name: tiny\n", "  name: tiny\n  seed: 7\n"))
    try:
        run = finished.snakemake(str(target.relative_to(finished.root)), config="seed.yaml")
        assert run.returncode == 0, run.stderr[-3000:]
        with h5py.File(target) as f:
            assert not np.array_equal(f["samples"][:100], before)
    finally:
        target.write_bytes(saved)
        # the restored chain counts as made: what follows it need not run again in the next tests
        assert finished.snakemake("--touch").returncode == 0


def test_an_altered_data_file_of_the_run_is_refused(finished: Checkout) -> None:
    name = "wmap_band_iqumap_r9_7yr_V_v4_udgraded32.fits"
    path = _results(finished) / "data" / "wmap7" / name
    before = path.read_bytes()
    product = _results(finished) / "maps" / "V.fits"
    kept = product.read_bytes()
    try:
        path.write_bytes(before[:-2880] + before[-2880:][::-1])
        run = finished.snakemake("--force", str(product.relative_to(finished.root)))
        assert run.returncode != 0
        assert "altered: sha256" in run.stdout + run.stderr
        assert "Traceback" not in (_results(finished) / "logs/prepare_maps/V.log").read_text()
    finally:
        path.write_bytes(before)
        product.write_bytes(kept)


def test_a_failed_check_fails_the_run_after_the_report(finished: Checkout) -> None:
    strict = finished.root / "strict.yaml"
    tiny = (finished.root / "pipeline/config/tiny.yaml").read_text()
    strict.write_text(tiny.replace("delta_chi2_95: 2.0", "delta_chi2_95: 1.0e-9"))
    # only the check whose limit changed, and what follows from it
    only = ("--rerun-triggers", "mtime", "--forcerun", "check_emulator")
    run = finished.snakemake(*only, config="strict.yaml")
    assert run.returncode != 0
    assert "FAILED emulator" in run.stdout + run.stderr
    page = (_results(finished) / "report" / "index.html").read_text()
    assert "checks FAILED" in page


def test_snakemakes_own_report_is_made_offline(finished: Checkout, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    run = finished.snakemake("--report", str(out))
    assert run.returncode == 0, run.stderr[-2000:]
    text = out.read_text()
    assert "Marginal posteriors" in text  # a caption
    assert not re.search(r"<(?:script|link)[^>]+(?:src|href)=\"https?://", text)
