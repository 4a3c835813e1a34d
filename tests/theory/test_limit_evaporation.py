"""The stage from chains of several masses to limits: each chain keeps its own mass."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cmbfit.inference.products import Samples, write_samples
from cmbfit.io import write_json
from cmbfit.theory.emulator.bundle import bundle_folder
from cmbfit.theory.hawking.response import response_of
from pipeline.limit_evaporation import limit_evaporation

POINT = {"ombh2": 0.02237, "omch2": 0.1200, "theta_mc": 1.04092, "tau": 0.0544, "logA": 3.044, "ns": 0.9649}


def test_each_chain_keeps_its_mass(tmp_path: Path) -> None:
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
    given = [
        {"name": fit, "mass_g": mass, "samples": f"{tmp_path}/{fit}.h5", "summary": f"{tmp_path}/{fit}.json"}
        for fit, mass in fits.items()
    ]
    write_json(tmp_path / "fits.json", given)
    limit_evaporation(
        fits=tmp_path / "fits.json",
        emulator=bundle_folder("lcdm_planck2018") / "manifest.json",
        figure=tmp_path / "figure.png",
        imprint_figure=tmp_path / "figure_imprint.png",
        output=tmp_path / "out.json",
    )
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
