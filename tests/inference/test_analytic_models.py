"""Tables of distortions and of a rotation: against integrals over their priors and published bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from cmbfit.figures.models import plot_models
from cmbfit.inference.analytic_models import blackbody_table, rotation_table
from cmbfit.inference.model_text import model_rows
from cmbfit.theory.birefringence.bandpowers import BandpowerRotation, rotation_record
from cmbfit.theory.blackbody.firas import fit_firas, load_firas
from tests.theory.test_birefringence_bandpowers import product


@pytest.mark.parametrize("name", ["mu", "y"])
def test_distortions_of_firas(name: str) -> None:
    """ln B by integrating the profile over the prior; bounds within those of Fixsen et al. 1996 (9e-5, 1.5e-5)."""
    table = blackbody_table(1e-3)
    row = next(m for m in table["models"] if m["name"] == f"blackbody_{name}")
    data, inverse = load_firas(), np.linalg.inv(load_firas().covariance)
    shared = np.stack([data.template(p) for p in ("dT", "galaxy")], 1)

    def profile(x: float) -> float:
        rest = data.residual - x * data.template(name)
        best = np.linalg.solve(shared.T @ inverse @ shared, shared.T @ inverse @ rest)
        return float((rest - shared @ best) @ inverse @ (rest - shared @ best))

    least = fit_firas(data, ("dT", name, "galaxy"))
    i = least.parameters.index(name)
    near = [least.values[i] + s * least.errors[i] for s in (-6, 0, 6)]
    integral, _ = quad(lambda x: math.exp(-0.5 * (profile(x) - profile(0.0))), -1e-3, 1e-3, points=near)
    assert row["savage_dickey"]["ln_b"] == pytest.approx(math.log(integral / 2e-3), abs=1e-6)
    assert row["delta_chi2"]["total"] == pytest.approx(least.chi2 - profile(0.0), abs=1e-9)
    assert row["delta_aic"] - row["delta_chi2"]["total"] == pytest.approx(2)
    assert row["delta_bic"] - row["delta_chi2"]["total"] == pytest.approx(math.log(43))
    assert least.upper_limit(name) < {"mu": 9e-5, "y": 1.5e-5}[name]
    assert "Fixsen et al. 1996" in row["published"]


@pytest.mark.parametrize("calibration", [0.0, 1.5])
def test_a_rotation(calibration: float, rng: np.random.Generator) -> None:
    """ln B and chi2 by integrating and searching over both angles; a fixed calibration by the closed form."""
    data, dl = product(3.0, 200.0, rng)
    likelihood = BandpowerRotation(data, dl)
    record = rotation_record(likelihood, calibration, 20, rng)
    row = rotation_table(record)["models"][1]
    angles = np.linspace(-45, 45, 9001)
    like = np.exp(-0.5 * (likelihood.chi2(angles) - likelihood.chi2(angles).min()))
    if calibration:
        error = np.exp(-0.5 * (angles / calibration) ** 2)
        without = (like * error).sum() / error.sum()
        least = (likelihood.chi2(angles) + (angles / calibration) ** 2).min()
    else:
        without, least = like[4500], likelihood.chi2(np.zeros(1))[0]
    # the grid of the record has an eighth of the error in a step
    assert row["savage_dickey"]["ln_b"] == pytest.approx(math.log(like.mean() / without), abs=0.05)
    assert -row["delta_chi2"]["total"] == pytest.approx(least - likelihood.chi2(angles).min(), abs=0.05)
    assert "±" in row["published"]


def test_all_in_one_table_and_plot(rng: np.random.Generator) -> None:
    data, dl = product(0.0, 1e9, rng)
    tables = [
        blackbody_table(1e-3),
        rotation_table(rotation_record(BandpowerRotation(data, dl), 1.5, 20, rng)),
    ]
    rows = [row for table in tables for row in model_rows(table)]
    assert [row["delta_chi2"] for row in rows if "reference" in row["delta_chi2"]] == ["0 (reference)"] * 2
    assert rows[1]["constraint"].endswith("(95%)")
    assert rows[-1]["constraint"].startswith("beta [deg] unconstrained")
    names = [t.get_text() for t in plot_models(tables).axes[0].get_yticklabels()]
    assert names[-1] == "rotation of polarisation\n(against no rotation)"
