"""Slopes of formulas by dual numbers (value, derivative): at one number a hundred times faster than automatic differentiation.

Of tensors too (:func:`value_and_slope`), where a slope costs what its own products do, and no graph.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

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


_TENSOR_SLOPES: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "exp": (torch.exp, lambda _, f: f),
    "log": (torch.log, lambda x, _: 1 / x),
    "sqrt": (torch.sqrt, lambda _, f: 0.5 / f),
    "sin": (torch.sin, lambda x, _: torch.cos(x)),
    "cos": (torch.cos, lambda x, _: -torch.sin(x)),
    "tan": (torch.tan, lambda _, f: 1 + f * f),
    "sinh": (torch.sinh, lambda x, _: torch.cosh(x)),
    "cosh": (torch.cosh, lambda x, _: torch.sinh(x)),
    "tanh": (torch.tanh, lambda _, f: 1 - f * f),
    "atan": (torch.atan, lambda x, _: 1 / (1 + x * x)),
}


def _zero(slope: Any) -> bool:
    """Whether a slope is that of a constant."""
    return isinstance(slope, float) and slope == 0


def _tensor_power(a: Any, da: Any, b: Any, db: Any) -> tuple[Any, Any]:
    value = a**b
    slope = 0.0 if _zero(da) else b * a ** (b - 1) * da
    return value, slope if _zero(db) else slope + value * torch.log(a) * db


def value_and_slope(
    formula: Formula, variable: str, values: Mapping[str, torch.Tensor]
) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Return f and df/dx as a function of a tensor of one variable's values; `values` are of all others.

    Examples
    --------
    >>> f = value_and_slope(Formula("a * phi**2"), "phi", {"a": torch.tensor(3.0)})
    >>> [x.item() for x in f(torch.tensor(4.0))]
    [48.0, 24.0]
    """
    dual = _compile_tensor(formula.root, variable, values)

    def both(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value, slope = dual(x)
        return value + torch.zeros_like(x), slope + torch.zeros_like(x)

    return both


def _compile_tensor(  # noqa: PLR0911 (one for each kind of node)
    node: ast.expr, variable: str, values: Mapping[str, torch.Tensor]
) -> Callable[[Any], tuple[Any, Any]]:
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
            inner = _compile_tensor(node.operand, variable, values)
            return lambda x: tuple(-y for y in inner(x))
        case ast.UnaryOp():
            return _compile_tensor(node.operand, variable, values)
        case ast.BinOp():
            left, right = (_compile_tensor(n, variable, values) for n in (node.left, node.right))
            rule: Any = _tensor_power if isinstance(node.op, ast.Pow) else _BINARY[type(node.op)]
            return lambda x: rule(*left(x), *right(x))
        case ast.Call():
            argument = _compile_tensor(node.args[0], variable, values)
            function, derivative = _TENSOR_SLOPES[node.func.id]  # type: ignore[attr-defined]
            number_function = _SLOPES[node.func.id][0]  # type: ignore[attr-defined]

            def call(x: Any) -> tuple[Any, Any]:
                at, slope = argument(x)
                if isinstance(at, float):
                    return number_function(at), 0.0
                value = function(at)
                return value, 0.0 if _zero(slope) else derivative(at, value) * slope

            return call
    raise AssertionError(node)  # Formula has refused everything else


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
