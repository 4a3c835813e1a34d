"""Formulas given as text, turned into torch functions without running them as code.

The text is parsed by Python's own parser, and the tree is walked: only numbers, the four operations,
powers, names and a few elementary functions are accepted. Nothing is evaluated by the interpreter.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

import torch

from cmbfit.errors import FormulaError

FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "atan": torch.atan,
}
"""What a formula may call; each takes one argument."""

_BINARY: dict[type[ast.operator], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[torch.Tensor], torch.Tensor]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_STRANGE = re.compile(r"[^\w\s.+*/^()-]")
"""What stands in no formula: comments, continued lines, brackets of other kinds. A ^ has a hint of its own."""
_MAX_LENGTH, _MAX_DEPTH = 1000, 60


class Formula:
    """A function of named variables.

    Parameters
    ----------
    text : str
        Such as ``"V0 * (1 - exp(-sqrt(2/3) * phi))**2"``. Known names are `pi`, `e` and the functions
        exp log sqrt sin cos tan sinh cosh tanh atan; every other name is a variable.

    Attributes
    ----------
    text : str
    names : tuple of str
        Its variables, in alphabetical order.
    root : ast.expr
        The tree, all of whose nodes are on the list.

    Raises
    ------
    FormulaError
        If the text does not parse or uses anything else.

    Examples
    --------
    >>> Formula("a * phi**2").names
    ('a', 'phi')
    """

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise FormulaError(f"formula: expected at most {_MAX_LENGTH} characters, found {len(text)}")
        if odd := _STRANGE.search(text):  # a # would hide the rest of the formula from the parser
            raise FormulaError(
                f"formula {text!r}: {odd[0]!r} is not allowed; use numbers, names, + - * / ** and brackets"
            )
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            hint = " (powers are written **, functions exp(x))" if "^" in text else ""
            raise FormulaError(f"formula {text!r} does not parse: {error}{hint}") from error
        self.text = text
        self._names: set[str] = set()
        self.root = tree.body
        self._numbers: dict[ast.expr, torch.Tensor] = {}
        self._check(tree.body, 0)
        self.names = tuple(sorted(self._names))

    def _check(self, node: ast.expr, depth: int) -> None:
        """Refuse every node that is not on the list, before anything is computed."""
        if depth > _MAX_DEPTH:
            raise FormulaError(f"formula {self.text!r}: nested deeper than {_MAX_DEPTH}")
        for child in self._children(node):
            self._check(child, depth + 1)

    def _children(self, node: ast.expr) -> list[ast.expr]:
        match node:
            case ast.Constant() if type(node.value) in {int, float} and abs(node.value) < 1e300:  # type: ignore[arg-type]
                self._numbers[node] = torch.tensor(float(node.value), dtype=torch.float64)  # type: ignore[arg-type]
                return []
            case ast.Name() if node.id not in FUNCTIONS and not node.id.startswith("_"):
                if node.id in _CONSTANTS:
                    self._numbers[node] = torch.tensor(_CONSTANTS[node.id], dtype=torch.float64)
                else:
                    self._names.add(node.id)
                return []
            case ast.BinOp() if type(node.op) in _BINARY:
                return [node.left, node.right]
            case ast.UnaryOp() if type(node.op) in _UNARY:
                return [node.operand]
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
                return [argument]
        raise self._refusal(node)

    def _refusal(self, node: ast.expr) -> FormulaError:
        found = ast.get_source_segment(self.text.strip(), node) or type(node).__name__
        return FormulaError(
            f"formula {self.text!r}: {found!r} is not allowed; use numbers, names, + - * / ** and "
            f"{', '.join(FUNCTIONS)} of one argument"
        )

    def __call__(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the formula's value, broadcast over the tensors in `values`.

        Raises
        ------
        FormulaError
            If a variable has no value.
        """
        if missing := [name for name in self.names if name not in values]:
            raise FormulaError(f"formula {self.text!r}: no value for {', '.join(missing)}")
        return self._value(self.root, values)

    def _value(self, node: ast.expr, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if node in self._numbers:
            return self._numbers[node]
        match node:
            case ast.Name():
                return values[node.id]
            case ast.BinOp():
                left, right = (self._value(n, values) for n in (node.left, node.right))
                return _BINARY[type(node.op)](left, right)
            case ast.UnaryOp():
                return _UNARY[type(node.op)](self._value(node.operand, values))
            case ast.Call():
                return FUNCTIONS[node.func.id](self._value(node.args[0], values))  # type: ignore[attr-defined]
        raise AssertionError(node)  # _check has refused everything else
