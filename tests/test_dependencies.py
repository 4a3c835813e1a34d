"""What is imported is declared, what is pinned is needed: pyproject.toml and constraints.txt against the code."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OWN = {"cmbfit", "pipeline", "tests", "benchmarks"}
# the name of a distribution where it is not that of its module, or the distribution may be absent
DISTRIBUTION = {
    "camb": "camb", "classy": "classy", "clipy": "clipy-like", "cosmopower_jax": "cosmopower-jax", "ducc0": "ducc0",
    "jax": "jax", "primpy": "primpy",
}  # fmt: skip
# what a benchmark or a test compares with where somebody has it
WHERE_FOUND = {"candl", "pixell", "pymaster", "pywiggle"}


def normal(name: str) -> str:
    """Return a distribution's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: Iterable[str]) -> set[str]:
    """Return the distributions of requirements, of our own extras those that they hold."""
    out: set[str] = set()
    for text in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", text).groups()  # type: ignore[union-attr]
        if name == "cmbfit":
            out |= names(x for extra in extras.split(",") for x in EXTRAS[extra])
        else:
            out.add(normal(name))
    return out


def imported(files: Iterable[Path]) -> dict[str, set[str]]:
    """Return the top modules that files import, not of the standard library nor our own, and where."""
    found: dict[str, set[str]] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_bytes())):
            match node:
                case ast.Import():
                    tops = [x.name.partition(".")[0] for x in node.names]
                case ast.ImportFrom(level=0, module=str(module)):
                    tops = [module.partition(".")[0]]
                case _:
                    continue
            for top in {*tops} - OWN - sys.stdlib_module_names:
                found.setdefault(top, set()).add(str(path.relative_to(ROOT)))
    return found


INSTALLED = metadata.packages_distributions()


def distribution(module: str) -> set[str]:
    known = [DISTRIBUTION[module]] if module in DISTRIBUTION else INSTALLED.get(module)
    assert known, f"{module}: add its distribution to DISTRIBUTION"
    return {normal(x) for x in known}


OPTIONAL = {"cobaya", "nested", "search", "class"}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("cmbfit", OPTIONAL),
        ("pipeline", {"workflow"}),
        ("tests", {"dev", "class", "bench"}),
        ("benchmarks", {"dev", "class", "bench"}),
    ],
)
def test_every_distribution_that_is_imported_is_declared(folder: str, extras: set[str]) -> None:
    declared = names([*PROJECT["dependencies"], *(x for e in extras for x in EXTRAS[e])])
    found = imported((ROOT / folder).rglob("*.py"))
    beside = {path.stem for path in (ROOT / folder).glob("*.py")}  # a script sees the others of its folder
    missing = {
        m: where
        for m, where in found.items()
        if m not in WHERE_FOUND | beside and not distribution(m) & declared
    }
    assert not missing
    assert len(found) > 2


def test_what_rules_import_is_declared() -> None:
    text = "\n".join(p.read_text() for p in [ROOT / "Snakefile", *(ROOT / "pipeline/rules").glob("*.smk")])
    tops = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)) - OWN - sys.stdlib_module_names
    declared = names([*PROJECT["dependencies"], *EXTRAS["workflow"]])
    assert {m for m in tops if not distribution(m) & declared} == set()
    assert {"snakemake", "psutil"} <= tops


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [
        re.fullmatch(r"([\w.-]+)==([\w.+!-]+)", line) for line in lines if line and not line.startswith("#")
    ]
    assert all(found)
    return {normal(m[1]): m[2] for m in found if m}


def needed(extras: Iterable[str]) -> set[str]:
    """Return the distributions that are installed for the project with extras, at any depth."""
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(x) for x in PROJECT["dependencies"]]
    todo += [Requirement(f"cmbfit[{','.join(extras)}]")]
    while todo:
        one = todo.pop()
        for extra in ("", *one.extras):
            key = normal(one.name), extra
            if key in seen:
                continue
            seen.add(key)
            if one.name == "cmbfit":  # not as it was installed, but as it is
                todo += [Requirement(x) for x in EXTRAS.get(extra, ())]
                continue
            try:
                inner = [Requirement(x) for x in metadata.requires(one.name) or ()]
            except metadata.PackageNotFoundError:  # an extra that is not installed here
                continue
            todo += [x for x in inner if x.marker is None or x.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


# installed by `make bench` alone, the last for primpy; `make lock` leaves pip's own out
BENCH_ONLY = {"clipy-like", "dynesty", "primpy", "pyoscode"}
NOT_PINNED = {"cmbfit", "setuptools"}


def test_pins_are_of_what_a_fresh_environment_has_and_of_nothing_else() -> None:
    """`pip install --dry-run --ignore-installed -c constraints.txt .[dev,class]` lists the same."""
    wanted = needed(["dev", "class"])
    assert len(wanted) > 150
    assert wanted - NOT_PINNED - set(pins()) == set()
    assert set(pins()) - wanted == BENCH_ONLY


def test_what_is_installed_here_is_what_is_pinned() -> None:
    wrong = {}
    for name, version in pins().items():
        try:
            found = metadata.version(name).partition("+")[0]  # torch's builds for processors alone
        except metadata.PackageNotFoundError:
            continue
        if found != version:
            wrong[name] = f"{found} here, {version} pinned"
    assert not wrong
