"""Formulas: what they compute, and that nothing else than arithmetic gets through."""

from __future__ import annotations

import math

import pytest
import torch

from cmbfit.errors import FormulaError, InflationError
from cmbfit.theory.primordial.formula import Formula
from cmbfit.theory.primordial.inflation import solve_inflation
from cmbfit.theory.primordial.potential import Potential

X = {"phi": torch.linspace(0.5, 3, 7, dtype=torch.float64), "a": torch.tensor(2.0, dtype=torch.float64)}


def test_values_are_those_of_python() -> None:
    text = "a*exp(-phi/2)**2 + sqrt(phi) - -sin(pi*phi)/cosh(a) + tanh(phi)**a + log(e*phi)*1e-3"
    names = {k: getattr(math, k) for k in ("exp", "sqrt", "sin", "cosh", "tanh", "log", "pi", "e")}
    want = [eval(text, {"__builtins__": {}}, names | {"phi": x, "a": 2.0}) for x in X["phi"].tolist()]  # noqa: S307
    assert Formula(text).names == ("a", "phi")
    assert Formula(text)(X).tolist() == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "phi.__class__",
        "(lambda: 0)()",
        "[x for x in phi]",
        "phi if phi else 1",
        "exp(phi, 2)",
        "exp(x=phi)",
        "open('x')",
        "phi[0]",
        "'text'",
        "True * phi",
        "phi @ phi",
        "phi < 1",
        "f'{phi}'",
        "phi := 1",
        "_x",
        "exp",
        "phi^2",
        "phi # squared",
        "phi#**2",
        "phi \\\n + 1",
        "phi; 1",
        "phi +",
        "1j*phi",
        "1e999*phi",
        "",
        "-" * 200 + "phi",
        "phi" + "+phi" * 400,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(FormulaError, match="formula"):
        Formula(text)


def test_missing_variables_are_named() -> None:
    with pytest.raises(FormulaError, match="no value for a"):
        Formula("a*phi")({"phi": X["phi"]})
    with pytest.raises(FormulaError, match=r"expected values for \['m'\], found \[\]"):
        Potential("m*phi", {}, (0.1, 1))
    with pytest.raises(FormulaError, match="expected a function of phi"):
        Potential("m", {"m": 1.0}, (0.1, 1))


def test_derivatives_of_ln_v() -> None:
    v = Potential("m * phi**4", {"m": 3.0}, (0.1, 1))
    phi = torch.tensor([[0.5, 2.0]], dtype=torch.float64)
    value, slope, curvature = v.log_slopes(phi, 2)
    assert value.flatten().tolist() == pytest.approx([3 / 16, 48])
    assert slope.flatten().tolist() == pytest.approx([8, 2])
    assert curvature.flatten().tolist() == pytest.approx([-16, -1])


@pytest.mark.parametrize(
    ("formula", "phi_range", "message"),
    [
        ("exp(3*phi)", (0.0, 5.0), "does not inflate"),
        ("-phi**2", (0.1, 20.0), "does not inflate"),
        ("1 + 0*phi", (0.1, 20.0), "does not inflate"),
        ("exp(phi/10)", (0.0, 5.0), "does not end"),
        ("phi**2", (0.1, 10.0), "e-folds were asked for, it gives 24"),
    ],
)
def test_potentials_that_do_not_inflate_as_asked(
    formula: str, phi_range: tuple[float, float], message: str
) -> None:
    k = torch.tensor([0.05], dtype=torch.float64)
    with pytest.raises(InflationError, match=message):
        solve_inflation(Potential(formula, {}, phi_range), k, 55.0)
