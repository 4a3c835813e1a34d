"""A whole run, from maps to the report, of a fit that nested sampling makes."""

from __future__ import annotations

import json

import pytest
import yaml

from .conftest import Checkout

pytestmark = [pytest.mark.workflow, pytest.mark.slow, pytest.mark.timeout(3000)]
CONFIG = {
    "run": {"name": "nested"},
    # few exact spectra, loose marks: what is tested is the sampler's way through all stages
    "theory": {"emulator": {"check": {"draws": 16, "parts": 2, "delta_chi2_95": 1.0, "ess_fraction": 0.5, "shift": 0.5}}},
    "fits": {"lcdm_planck2018": {"sampler": {"kind": "nested", "n_live": 500, "n_effective": 3000, "networks": 0}}},
}  # fmt: skip


def test_maps_to_report(checkout: Checkout) -> None:
    (checkout.root / "nested.yaml").write_text(yaml.safe_dump(CONFIG))
    run = checkout.snakemake(config="nested.yaml", timeout=2800)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    results = checkout.root / "results/nested"
    summary = json.loads((results / "summary.json").read_text())
    assert not [c for c in summary["checks"] if not c["pass"]]
    fit = summary["fits"]["lcdm_planck2018"]
    assert fit["convergence"]["sampler"] == "nested"
    # Planck 2018 VI table 2, TT,TE,EE+lowE; 3000 samples scatter by 0.02 sigma, and the low-l likelihoods differ
    for name, mean, sigma in (("ombh2", 0.02236, 0.00015), ("ns", 0.9649, 0.0044), ("H0", 67.27, 0.60)):
        assert abs(fit["parameters"][name]["mean"] - mean) < 0.4 * sigma, name
    # its own ln Z beside that of importance sampling around the maximum, which shares the posterior alone with it
    evidence = json.loads((results / "evidence/lcdm_planck2018.json").read_text())
    own = fit["evidence"]
    assert (
        abs(own["log_z"] - evidence["log_z"])
        < 4 * (own["log_z_error"] ** 2 + evidence["log_z_error"] ** 2) ** 0.5
    )
    page = (results / "report/index.html").read_text()
    assert "nested sampling" in page
    for figure in ("corner", "traces", "residuals", "emulator", "reweight"):
        assert (results / f"figures/{figure}_lcdm_planck2018.png").read_bytes().startswith(b"\x89PNG")
    again = checkout.snakemake("--dry-run", config="nested.yaml")
    assert "Nothing to be done" in again.stdout + again.stderr
