"""What a run of the tiny configuration leaves: numbers, formats, links, its record and Snakemake's own report."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sacc

from .conftest import Checkout

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1200)]  # one of them waits for the run


def test_summary_carries_parameters_checks_and_provenance(tiny_run: Checkout) -> None:
    summary = json.loads((tiny_run.results / "summary.json").read_text())
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


def test_products_have_the_documented_formats(tiny_run: Checkout) -> None:
    results = tiny_run.results
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
    assert page.count("data:image/png;base64,") == 14
    assert not re.search(r"(src|href)=\"https?://", page)
    records = list(results.rglob("*.fits.json"))
    assert records
    assert all(json.loads(r.read_text())["inputs"] for r in records)


def test_every_link_of_the_report_resolves(tiny_run: Checkout) -> None:
    """Numbers, figures, logs and costs link to files that are there, and contents to sections."""
    page = tiny_run.results / "report" / "index.html"
    text = page.read_text()
    links = set(re.findall(r'href="([^"]+)"', text)) - {"data:,"}
    assert len([x for x in links if x.startswith("../logs/")]) > 10
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in text, link
        else:
            assert (page.parent / link).is_file(), link


def test_the_run_is_recorded_and_would_repeat(tiny_run: Checkout) -> None:
    results = tiny_run.results
    graph = json.loads((results / "ro-crate-metadata.json").read_text())["@graph"]
    files = {e["@id"]: e for e in graph if e.get("@type") == "File"}
    assert {"summary.json", "report/index.html", "chains/lcdm_planck2018.samples.h5"} <= set(files)
    assert files["checks/spectra.json"]["description"] == "written by the rule check_spectra"
    assert "@article{jarosik2011," in (results / "citations.bib").read_text()
    run = subprocess.run(
        [sys.executable, "-c", "from cmbfit.cli.app import main; main()", "reproduce", "results/tiny"],
        cwd=tiny_run.root, env=tiny_run.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "would repeat the run exactly" in run.stdout


@pytest.mark.slow
def test_snakemakes_own_report_is_made_offline(finished: Checkout, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    run = finished.snakemake("--report", str(out))
    assert run.returncode == 0, run.stderr[-2000:]
    text = out.read_text()
    assert "Marginal posteriors" in text  # a caption
    assert not re.search(r"<(?:script|link)[^>]+(?:src|href)=\"https?://", text)
