"""Slopes of formulas at one number: dual numbers (value, derivative), a hundred times faster there than automatic differentiation."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping

from cmbfit.theory.primordial.formula import Formula

Dual = tuple[float, float]

_SLOPES: dict[str, tuple[Callable[[float], float], Callable[[float, float], float]]] = {
    "exp": (math.exp, lambda _, f: f),
    "log": (math.log, lambda x, _: 1 / x),
    "sqrt": (math.sqrt, lambda _, f: 0.5 / f),
    "sin": (math.sin, lambda x, _: math.cos(x)),
    "cos": (math.cos, lambda x, _: -math.sin(x)),
    "tan": (math.tan, lambda _, f: 1 + f * f),
    "sinh": (math.sinh, lambda x, _: math.cosh(x)),
    "cosh": (math.cosh, lambda x, _: math.sinh(x)),
    "tanh": (math.tanh, lambda _, f: 1 - f * f),
    "atan": (math.atan, lambda x, _: 1 / (1 + x * x)),
}
"""Each function with its slope, from the argument and the value."""


def _power(a: float, da: float, b: float, db: float) -> Dual:
    value = a**b
    slope = b * a ** (b - 1) * da if b != 0 and da != 0 else 0.0
    return value, slope + (value * math.log(a) * db if db != 0 else 0.0)


_BINARY: dict[type[ast.operator], Callable[[float, float, float, float], Dual]] = {
    ast.Add: lambda a, da, b, db: (a + b, da + db),
    ast.Sub: lambda a, da, b, db: (a - b, da - db),
    ast.Mult: lambda a, da, b, db: (a * b, da * b + a * db),
    ast.Div: lambda a, da, b, db: (a / b, (da - a / b * db) / b),
    ast.Pow: _power,
}


def log_slope(formula: Formula, variable: str, values: Mapping[str, float]) -> Callable[[float], float]:
    """Return d ln f / dx as a function of one variable's value.

    Parameters
    ----------
    formula : Formula
    variable : str
    values : mapping of str to float
        Of all other variables.

    Returns
    -------
    callable
        Not a number where f <= 0 or is not a number, as by automatic differentiation.

    Examples
    --------
    >>> log_slope(Formula("a * phi**2"), "phi", {"a": 3.0})(4.0)
    0.5
    """
    dual = _compile(formula.root, variable, values)

    def slope(x: float) -> float:
        try:
            value, derivative = dual(x)
            return derivative / value if value > 0 else math.nan
        # a real power of a negative number is complex to Python, which does not order it
        except (ArithmeticError, ValueError, TypeError):
            return math.nan

    return slope


def _compile(  # noqa: PLR0911 (one for each kind of node)
    node: ast.expr, variable: str, values: Mapping[str, float]
) -> Callable[[float], Dual]:
    match node:
        case ast.Constant():
            number = float(node.value)  # type: ignore[arg-type]
            return lambda _: (number, 0.0)
        case ast.Name(id=name) if name == variable:
            return lambda x: (x, 1.0)
        case ast.Name():
            fixed = values[node.id] if node.id in values else {"pi": math.pi, "e": math.e}[node.id]
            return lambda _: (fixed, 0.0)
        case ast.UnaryOp(op=ast.USub()):
            inner = _compile(node.operand, variable, values)
            return lambda x: tuple(-y for y in inner(x))  # type: ignore[return-value]
        case ast.UnaryOp():
            return _compile(node.operand, variable, values)
        case ast.BinOp():
            left, right = (_compile(n, variable, values) for n in (node.left, node.right))
            rule = _BINARY[type(node.op)]
            return lambda x: rule(*left(x), *right(x))
        case ast.Call():
            argument = _compile(node.args[0], variable, values)
            function, derivative = _SLOPES[node.func.id]  # type: ignore[attr-defined]

            def call(x: float) -> Dual:
                at, slope = argument(x)
                value = function(at)
                return value, derivative(at, value) * slope if slope != 0 else 0.0

            return call
    raise AssertionError(node)  # Formula has refused everything else
