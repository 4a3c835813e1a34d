"""The packages stand in layers: what is imported at the top of a module lies below it, and nothing goes round in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import cmbfit

PACKAGE = Path(cmbfit.__file__).parent
LAYERS = (
    {"errors", "units", "_lazy", "_moved"},
    {"io", "blinded", "leftovers", "checkpoint", "folders", "device", "trust", "shipped", "fits_structure"},
    {"registry", "config", "data"},
    {"theory", "sky", "spectra"},
    {"survey"},
    {"likelihood"},
    {"fit", "inference"},  # a fit names its sampler, a sampler runs a fit
    {"provenance", "figures"},
    {"report"},
    {"cobaya", "cli"},
)


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield what runs when the module is imported: no bodies of functions, nothing for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.stmt):
            yield child
        yield from _statements(child)


def imports() -> dict[str, set[str]]:
    """Module to the modules of cmbfit that its import brings at once."""
    files = {p.relative_to(PACKAGE.parent).with_suffix(""): p for p in PACKAGE.rglob("*.py")}
    modules = {".".join(name.parts).removesuffix(".__init__"): path for name, path in files.items()}
    out: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
            found = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                found = [
                    x if x in modules else node.module
                    for x in (f"{node.module}.{a.name}" for a in node.names)
                ]
            out[name] |= {x for x in found if x in modules and x != name}
    return out


def test_every_part_of_the_package_has_its_layer() -> None:
    parts = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert parts - {"__init__"} == set().union(*LAYERS)


def test_no_import_goes_up() -> None:
    layer = {part: i for i, parts in enumerate(LAYERS) for part in parts}
    up = [
        f"{name} imports {other}"
        for name, others in imports().items()
        for other in others
        if name.count(".") and other.count(".") and layer[other.split(".")[1]] > layer[name.split(".")[1]]
    ]
    assert not up


def test_no_import_goes_round() -> None:
    graph = {name: others - {"cmbfit"} for name, others in imports().items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)  # raises CycleError
