"""A model, a sampler and a data set of one's own in one fit, from the configuration to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from .change import Change, cmbfit
from .conftest import POINT
from .samples import IMPORTANCE
from .test_data_set import BARYONS
from .test_primordial_model import MODEL, PRIORS


@pytest.mark.filterwarnings("ignore:The format attribute was deprecated:DeprecationWarning")  # GetDist's
@pytest.mark.slow
def test_three_files_make_a_fit_of_one_s_own(change: Change, bandpowers: str, transfer: str) -> None:
    change.write("mymodel.py", MODEL)
    change.write("mysampler.py", IMPORTANCE)
    change.write("baryons.yaml", yaml.safe_dump(BARYONS))
    assert len(change.files) == 3
    mine = {
        "data": ["./baryons.yaml", {"candl": bandpowers, "units_checked": True}],
        "priors": PRIORS,
        "theory": {"primordial": "./mymodel.py", "transfer": transfer},
        "sampler": {"kind": "./mysampler.py", "draws": 20_000, "keep": 500},
        "ensembles": 1,
        "show": ["ombh2", "height"],
    }
    result = cmbfit("fit", change.configure(fits={"mine": mine}), "-o", "out", "--allow-code")
    assert result.exit_code == 0, result.exception
    summary = json.loads(Path("out/chains/mine.summary.json").read_text(encoding="utf-8"))
    assert summary["convergence"]["sampler"] == "importance"
    # ombh2 is hardly seen by twenty bins: its prior (0.0224 +- 0.0001) times the measurement (0.0222 +- 0.0005)
    precision = 1e-4**-2 + 5e-4**-2
    mean = (0.0224 * 1e-4**-2 + 0.0222 * 5e-4**-2) / precision
    row = summary["parameters"]["ombh2"]
    error = precision**-0.5
    assert row["mean"] == pytest.approx(mean, abs=0.3 * error)
    assert row["std"] == pytest.approx(error, rel=0.2)
    assert set(summary["best_fit"]["point"]) == {*POINT, "height"}
    page = Path("out/report/index.html").read_text(encoding="utf-8")
    for text in (
        "a smooth step",
        "P = P0 [1 + height tanh((ln k + 7.5)/0.5)]",
        "Nobody (2026)",
        "its place is fixed",
        "omega_b h^2 = 0.0222",
        "importance",
        "primordial_mine",
        "corner_mine",
        "residuals_mine",
    ):
        assert text in page, text
