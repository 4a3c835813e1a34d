"""The average over numbers of knots against mixtures in closed form, and its figure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm, triang, uniform

from cmbfit.errors import ComparisonError
from cmbfit.figures.freeform import freeform_table, plot_freeform
from cmbfit.inference.freeform import QUANTILES, Member, average
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.knots import RANGE


def member(n: int, own: np.ndarray, log_z: float | None) -> Member:
    model = get_model(f"knots_{n}")
    priors = {p: x.describe() for p, x in model.priors.items()}
    evidence = {
        "log_z": log_z,
        "log_z_error": None if log_z is None else 0.03,
        "method": "m",
        "why_not": "too rough",
    }
    return Member(f"knots_{n}", f"{n} knots", n, model, priors, own, evidence)


def two() -> list[Member]:
    """Flat spectra of two models, normal in ln P with other means, three to one in evidence."""
    rng = np.random.default_rng(4)
    one, other = rng.normal(3.0, 0.01, (4000, 1)), rng.normal(3.1, 0.02, (2000, 1))
    return [member(1, one - 3.044, -10.0 + math.log(3)), member(2, other - tilted(np.array(RANGE)), -10.0)]


def tilted(k: np.ndarray) -> np.ndarray:
    """ln(10^10 P) of the power law about which heights are."""
    return 3.044 + (0.9649 - 1) * np.log(k / 0.05)


def test_bands_are_those_of_the_mixture() -> None:
    """Quantiles of 3/4 N(3, 0.01) + 1/4 N(3.1, 0.02); draws leave 0.002 of an inner quantile at 4 sigma."""
    found = average(two(), np.random.default_rng(0))
    assert [m["probability"] for m in found["models"]] == pytest.approx([0.75, 0.25])
    assert [m["ln_b"] for m in found["models"]] == pytest.approx([math.log(3), 0.0])
    assert [m["ln_b_error"] for m in found["models"]] == pytest.approx([0.03 * math.sqrt(2), 0.0])
    for q in QUANTILES:
        wanted = brentq(
            lambda x, q=q: 0.75 * norm.cdf(x, 3.0, 0.01) + 0.25 * norm.cdf(x, 3.1, 0.02) - q / 100, 2.9, 3.3
        )
        assert found["average"][f"q{q:g}"][77] == pytest.approx(wanted, abs=2e-3)


def test_the_priors_bands_are_those_of_the_priors() -> None:
    """At an end uniform about P_0; half way between two knots the mean of two of them, a triangle. One knot is uniform everywhere.

    4000 draws of each leave 0.02 of a quantile of the prior at 2 to 3 sigma.
    """
    found = average(two(), np.random.default_rng(0))
    k = np.array(found["k"])
    middle = int(np.abs(np.log(k) - np.log(RANGE).mean()).argmin())
    flat = uniform(3.044 - 1, 2)
    for at, other in ((0, uniform(tilted(k)[0] - 1, 2)), (middle, triang(0.5, tilted(k)[middle] - 1, 2))):
        for q in (16.0, 84.0):
            wanted = brentq(lambda y, q=q, x=other: (flat.cdf(y) + x.cdf(y)) / 2 - q / 100, 1.5, 4.5)
            assert found["prior"][f"q{q:g}"][at] == pytest.approx(wanted, abs=0.03)
    assert "'uniform': [-1.0, 1.0]" in found["priors"]


def test_a_model_without_an_evidence_is_said_and_left_out() -> None:
    members = two()
    found = average([members[0], member(3, np.array([[0.0, 0.0, 0.0, 0.5]]), None)], np.random.default_rng(0))
    assert [m["log_z"] is None for m in found["models"]] == [False, True]
    assert found["models"][1]["why_not"] == "too rough"
    assert found["reference"] == "knots_1"
    assert found["average"] == found["models"][0]["bands"]
    with pytest.raises(ComparisonError, match="knots_3: too rough"):
        average([member(3, np.ones((4, 4)) * 0.5, None)], np.random.default_rng(0))


def test_the_figure_has_the_averages_numbers() -> None:
    found = average(two(), np.random.default_rng(0))
    groups: list[dict[str, Any]] = [{"title": t, **found} for t in ("a", "b")]
    fig = plot_freeform(groups)
    assert len(fig.axes) == 5  # two columns of two, and the evidences
    table = freeform_table(groups)
    rows = (table["what"] == "average") & (table["data"] == "b")
    np.testing.assert_array_equal(table["q50"][rows], groups[1]["average"]["q50"])
    assert set(table["what"]) == {"average", "prior", "knots_1", "knots_2"}
