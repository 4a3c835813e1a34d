"""Slopes of potentials by dual numbers against fifty digits of mpmath; one potential alone against it in a batch."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from cmbfit.errors import InflationError
from cmbfit.theory.primordial.background import solve_background
from cmbfit.theory.primordial.dual import log_slope
from cmbfit.theory.primordial.formula import FUNCTIONS, Formula
from cmbfit.theory.primordial.potential import Potential


@pytest.mark.parametrize(
    "text",
    [
        *(f"2 + {name}(0.3 * phi + a)" for name in FUNCTIONS),
        "V0 * (1 - exp(-sqrt(2/3) * phi))**2",
        "phi**(2/3) + phi**a - -phi / (pi + phi)",
        "a**phi * e**(+phi) / 3",
        "V0 + 0 * phi",
    ],
)
def test_slopes_are_those_of_mpmath(text: str) -> None:
    values = {"V0": 2.0, "a": 0.7}
    formula = Formula(text)
    given = {name: x for name, x in values.items() if name in formula.names}
    names = {name: getattr(mpmath, name) for name in FUNCTIONS} | {"pi": mpmath.pi, "e": mpmath.e}
    with mpmath.workdps(50):
        code = compile(text, "formula", "eval")
        expected = mpmath.diff(
            lambda x: mpmath.log(eval(code, {}, {**names, **values, "phi": x})),  # noqa: S307
            mpmath.mpf("0.9"),
        )
    assert log_slope(formula, "phi", given)(0.9) == pytest.approx(float(expected), rel=1e-13, abs=1e-15)


@pytest.mark.parametrize(
    ("text", "at"),
    [("phi", -1.0), ("phi", 0.0), ("log(phi)", -1.0), ("1/phi", 0.0), ("phi**0.5", -2.0), ("exp(phi)", 1e4)],
)
def test_where_there_is_no_slope_it_is_not_a_number(text: str, at: float) -> None:
    assert math.isnan(log_slope(Formula(text), "phi", {})(at))


@pytest.mark.parametrize(
    ("text", "ends"), [("phi**2 / 2", (0.1, 30.0)), ("(1 - exp(-0.8 * phi))**2", (0.05, 10.0))]
)
def test_one_potential_rolls_as_in_a_batch(text: str, ends: tuple[float, float]) -> None:
    """Two codes of one method, autograd and duals, held to 1e-9 a step: 1e-6 at the end of inflation, where u changes fast."""
    one, two = Potential(text, {}, ends), Potential(f"a * {text}", {"a": torch.tensor([1.0, 2.0])}, ends)
    start = one.slow_roll_start(60.0)
    alone, together = solve_background(one, start), solve_background(two, start.expand(2))
    assert alone.n_end.item() == pytest.approx(together.n_end[0].item(), abs=1e-6)
    n = torch.linspace(1, 59, 200, dtype=torch.float64)[None]
    for a, b in zip(alone.at(n)[::2], together.at(n.expand(2, -1))[::2], strict=True):
        assert (a[0] / b[0] - 1).abs().max() < 1e-6


def test_one_potential_that_does_not_end_says_so() -> None:
    with pytest.raises(InflationError, match="does not end within 20 e-folds"):
        solve_background(
            Potential("phi**2", {}, (0.1, 30.0)), torch.tensor([15.0], dtype=torch.float64), max_efolds=20.0
        )
