"""The stage from chains of several masses to limits: each chain keeps its own mass."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cmbfit.inference.products import Samples, write_samples
from cmbfit.theory.hawking.response import response_of
from pipeline import limit_evaporation

POINT = {"ombh2": 0.02237, "omch2": 0.1200, "theta_mc": 1.04092, "tau": 0.0544, "logA": 3.044, "ns": 0.9649}


def test_each_chain_keeps_its_mass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    # by name the heavier holes would come first: order must not come from sorting
    fits = {"b_light": 1e14, "a_heavy": 1e16}
    sigma = {fit: 0.2 * response_of(mass).box["f_pbh"][1] for fit, mass in fits.items()}
    for fit in fits:
        f = np.abs(sigma[fit] * rng.standard_normal((2, 4000)))
        values = [x[x < 5 * sigma[fit], None] for x in f]
        samples = Samples(("f_pbh",), values, [np.zeros(len(x)) for x in values], 1, {"f_pbh": (0.0, None)})
        write_samples(tmp_path / f"{fit}.h5", samples)
        record = {"convergence": {"effective_samples_min": 8000}, "best_fit": {"point": POINT}}
        (tmp_path / f"{fit}.json").write_text(json.dumps(record))
    arguments = ["--fits", *fits, "--masses", *(str(m) for m in fits.values())]
    arguments += ["--samples", *(str(tmp_path / f"{fit}.h5") for fit in fits)]
    arguments += ["--summaries", *(str(tmp_path / f"{fit}.json") for fit in fits)]
    arguments += ["--emulator", "lcdm_planck2018", "--figures", str(tmp_path / "figure")]
    monkeypatch.setattr(
        sys, "argv", ["limit_evaporation", *arguments, "--output", str(tmp_path / "out.json")]
    )
    limit_evaporation.main()
    limits = json.loads((tmp_path / "out.json").read_text())["limits"]
    assert [(x["fit"], x["mass_g"]) for x in limits] == list(fits.items())  # ascending in mass
    for x in limits:  # the half-normal's 95% quantile
        assert x["flat"] == pytest.approx(1.960 * sigma[x["fit"]], abs=4 * x["flat_error"])
        assert x["informative"]
    # holes at their limits take power from high multipoles: exp(-2 delta tau) of TT
    with (tmp_path / "figure_imprint.csv").open() as table:
        rows = list(csv.DictReader(line for line in table if not line.startswith("#")))
    high = [float(row["tt_1e+16g"]) for row in rows if 800 <= float(row["ell"]) < 1200]
    assert -0.06 < np.mean(high) < -0.01
