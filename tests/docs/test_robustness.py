"""Each row of docs/robustness.md names the tests that attack its promise, and they are there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "robustness.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
]


def marks(name: str) -> set[str]:
    """Return where a test runs by its marks; its parametrised cases may have marks of their own."""
    path, _, function = name.partition("[")[0].partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    module = "".join(
        ast.unparse(x)
        for x in tree.body
        if isinstance(x, ast.Assign) and "pytestmark" in ast.unparse(x.targets[0])
    )
    if not function:
        return set(re.findall(r"mark\.(slow|slurm)\b", module))
    found = [x for x in tree.body if isinstance(x, ast.FunctionDef) and x.name == function]
    assert found, f"{path} has no test {function}"
    own = " ".join(ast.unparse(x) for x in found[0].decorator_list if "parametrize" not in ast.unparse(x))
    return set(re.findall(r"mark\.(slow|slurm)\b", module + own))


def test_there_is_one_table_of_promises() -> None:
    assert ROWS[0] == ["promise", "how it is attacked", "how often", "outcome", "test"]
    assert len(ROWS) > 70
    assert len(set(map(tuple, ROWS))) == len(ROWS)


@pytest.mark.parametrize("row", ROWS[1:], ids=lambda row: row[1][:40])
def test_a_promise_has_its_tests(row: list[str]) -> None:
    promise, attack, often, outcome, tests = row
    assert promise
    assert attack
    assert outcome
    names = re.findall(r"`([^`]+)`", tests)
    assert names
    for name in names:
        found = marks(name)
        assert not found & {"slow", "slurm"} or "`make test-slow`" in often or "`make slurm`" in often, name


def test_every_test_of_the_page_exists() -> None:
    for name in re.findall(r"`(tests/[\w/]+\.py[^`]*)`", PAGE.read_text(encoding="utf-8")):
        marks(name)
