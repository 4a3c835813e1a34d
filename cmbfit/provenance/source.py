"""What one Python file says that matters to hashes: its syntax tree's digest, texts, imports and registries.

A file is parsed and walked once for all of it: a run asks for the hashes of some forty stages, each of some hundred files,
and every job on a cluster asks again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A Python file, read.

    Attributes
    ----------
    digest : str
        sha256 of the syntax tree without docstrings, which say nothing to the machine, and tables of registries.
    texts : frozenset of str
        All constants that are text, tables of registries aside.
    registered : frozenset of str
        The modules that the file's registries name.
    lazy : bool
        Whether it imports its names when they are asked for (``lazy_names``).
    """

    digest: str
    texts: frozenset[str]
    registered: frozenset[str]
    lazy: bool
    _imports: tuple[tuple[int, str | None, tuple[str, ...]], ...]

    def imports(self, package: tuple[str, ...]) -> frozenset[str]:
        """Return the modules that the file may import if it lies in a package; what only a type checker sees does not count."""
        names: set[str] = set()
        for level, module, members in self._imports:
            parents = package[: len(package) - level + 1] if level else ()
            whole = ".".join([*parents, *([module] if module else [])])
            names.add(whole)
            names.update(f"{whole}.{member}" for member in members)
        return frozenset(names)


def _inner(node: ast.AST) -> Iterator[ast.AST]:
    # ast.walk does this too, at three times the cost
    for value in vars(node).values():
        if isinstance(value, ast.AST):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, ast.AST))


def _without_docstring(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if (
        isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and body
        and isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    ):
        body[0].value.value = ""


def _modules_of(table: ast.Dict) -> set[str]:
    values = (v.value for v in table.values if isinstance(v, ast.Constant))
    return {value.rpartition(":")[0] for value in values if isinstance(value, str)}


@cache
def read_source(path: Path) -> Source:
    """Return what a file says.

    Raises
    ------
    SyntaxError
        If it is no Python.
    """
    tree = ast.parse(path.read_bytes())
    texts: set[str] = set()
    registered: set[str] = set()
    imports: list[tuple[int, str | None, tuple[str, ...]]] = []
    lazy = False
    todo: list[tuple[ast.AST, bool]] = [(tree, True)]
    while todo:
        node, runs = todo.pop()
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                texts.add(node.value)
            continue
        _without_docstring(node)
        if isinstance(node, ast.Import) and runs:
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and runs:
            imports.append((node.level, node.module, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            lazy = lazy or node.func.id == "lazy_names"
            if node.func.id == "Registry":
                tables = [x for x in node.args if isinstance(x, ast.Dict)]
                registered.update(*map(_modules_of, tables))
                node.args = [x for x in node.args if not isinstance(x, ast.Dict)]
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            todo += [(x, False) for x in node.body]
            todo += [(x, runs) for x in node.orelse]
            continue
        todo += [(x, runs) for x in _inner(node)]
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return Source(digest, frozenset(texts), frozenset(registered), lazy, tuple(imports))
