"""A content hash of the code that a rule runs: its entry point and all it imports, at any depth.

Snakemake watches a rule's text and its `script:` file, but not the library behind a shell command.
Each rule therefore carries this hash as a parameter. Comments and formatting do not count, since
the syntax tree is hashed; the YAML files beside a package's modules do.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("cmbfit", "pipeline")


def _module_file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _imports(path: Path) -> frozenset[Path]:
    """Files of cmbfit and pipeline that a file imports, packages' ``__init__`` included."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    found: set[Path | None] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] in _PACKAGES:
            # importing a.b.c runs a/__init__, a/b/__init__ and a/b/c
            found.update(_module_file(".".join(parts[: i + 1])) for i in range(len(parts)))
    return frozenset(p for p in found if p is not None)


@cache
def _digest(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        # docstrings say nothing to the machine
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
            and isinstance(node.body[0].value.value, str)
        ):
            node.body[0].value.value = ""
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def code_files(entry_point: str) -> list[Path]:
    """Return every file that ``python -m pipeline.<entry_point>`` may run, sorted."""
    start = _module_file(f"pipeline.{entry_point}")
    if start is None:
        raise FileNotFoundError(f"no entry point pipeline/{entry_point}.py")
    seen: set[Path] = set()
    todo = {start}
    while todo:
        path = todo.pop()
        seen.add(path)
        todo |= set(_imports(path)) - seen
    return sorted(seen)


@cache
def code_hash(entry_point: str) -> str:
    """Return the hash of an entry point's code and of the YAML and templates in the packages it uses.

    Examples
    --------
    >>> len(code_hash("compute_theory"))
    16
    """
    files = code_files(entry_point)
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(ROOT)} {_digest(path)}\n".encode())
    for folder in sorted({p.parent for p in files if p.name == "__init__.py" and p.parent.parent != ROOT}):
        for resource in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.jinja")]):
            digest.update(
                f"{resource.relative_to(ROOT)} {hashlib.sha256(resource.read_bytes()).hexdigest()}\n".encode()
            )
    return digest.hexdigest()[:16]
