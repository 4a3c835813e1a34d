"""The code hash of a rule: it follows imports to any depth and ignores what does not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cmbfit
from cmbfit.provenance import codehash

TREE = {
    "pipeline/__init__.py": "",
    "pipeline/fit.py": "from cmbfit.likelihood import gaussian\n\n\ndef main():\n    gaussian.f()\n",
    "pipeline/plot.py": "import cmbfit.figures\n",
    "cmbfit/__init__.py": "",
    "cmbfit/io.py": "def save():\n    return 1\n",
    "cmbfit/figures/__init__.py": "import matplotlib\n",
    "cmbfit/likelihood/__init__.py": '"""Doc."""\n',
    "cmbfit/likelihood/gaussian.py": (
        'from ..theory import deep\nfrom . import priors\n\n\ndef f():\n    return deep.g(), "planck.yaml", "tables"\n'
    ),
    "cmbfit/likelihood/tables/one.json": "{}",
    "cmbfit/likelihood/unnamed.yaml": "x: 1\n",
    "cmbfit/likelihood/priors.py": "def lazy():\n    from cmbfit import io\n    return io.save()\n",
    "cmbfit/likelihood/planck.yaml": "data: [1]\n",
    "cmbfit/theory/__init__.py": "",
    "cmbfit/theory/deep.py": 'def g():\n    """Say two."""\n    return 2  # two\n',
    "cmbfit/theory/unused.py": "x = 1\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    codehash.forget()
    yield tmp_path
    codehash.forget()


def code_hash(root: Path, name: str = "fit", **kwargs: Any) -> str:
    codehash.forget()
    return codehash.code_hash(f"pipeline.{name}", root=root, **kwargs)


def edited(tree: Path, name: str, text: str) -> tuple[str, str]:
    """Hashes of `fit` before and after a file gets a new text."""
    before = code_hash(tree)
    (tree / name).parent.mkdir(exist_ok=True, parents=True)
    (tree / name).write_text(text)
    return before, code_hash(tree)


def test_files_are_followed_to_any_depth(tree: Path) -> None:
    found = codehash.code_files("pipeline.fit", root=tree)
    # a function's own imports count (io), relative ones too; figures and theory.unused do not
    skipped = {"pipeline/plot.py", "cmbfit/figures/__init__.py", "cmbfit/theory/unused.py"}
    assert {p.relative_to(tree).as_posix() for p in found.values()} == {
        n for n in TREE if n.endswith(".py")
    } - skipped


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cmbfit/theory/deep.py", 'def g():\n    """Say TWO, and more."""\n    return 2\n'),
        ("cmbfit/theory/deep.py", "# a comment\n" + TREE["cmbfit/theory/deep.py"]),
        ("cmbfit/theory/deep.py", 'def g():\n\n    """Say two."""\n\n    return (\n        2\n    )\n'),
        ("cmbfit/likelihood/__init__.py", '"""Another."""\n'),
        ("cmbfit/theory/unused.py", "x = 2\n"),
        ("cmbfit/likelihood/unnamed.yaml", "x: 2\n"),  # no module that runs names it
        ("pipeline/plot.py", "import cmbfit.io\n"),
    ],
)
def test_edits_that_do_not_run_keep_the_hash(tree: Path, name: str, text: str) -> None:
    before, after = edited(tree, name, text)
    assert before == after


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cmbfit/theory/deep.py", 'def g():\n    """Say two."""\n    return 3  # two\n'),  # two imports deep
        ("cmbfit/io.py", "def save():\n    return 2\n"),  # imported inside a function, three deep
        ("cmbfit/theory/__init__.py", "x = 1\n"),  # runs when the package is imported
        ("cmbfit/likelihood/planck.yaml", "data: [2]\n"),
        ("cmbfit/likelihood/tables/one.json", "[]"),  # its folder is named
        ("cmbfit/likelihood/tables/two.json", "[]"),
        ("pipeline/fit.py", TREE["pipeline/fit.py"] + "\n\nx = 1\n"),
    ],
)
def test_edits_that_run_change_the_hash(tree: Path, name: str, text: str) -> None:
    before, after = edited(tree, name, text)
    assert before != after


def test_entry_points_have_hashes_of_their_own(tree: Path) -> None:
    assert code_hash(tree) != code_hash(tree, "plot")
    with pytest.raises(FileNotFoundError, match=r"pipeline/absent\.py"):
        codehash.code_files("pipeline.absent", root=tree)


def test_a_registry_s_table_counts_only_where_all_of_it_is_asked_for(tree: Path) -> None:
    table = 'from cmbfit.theory import deep\nALL = Registry("x", "g", {"one": "cmbfit.theory.unused:x"%s})\n'
    path = tree / "cmbfit/likelihood/priors.py"
    path.write_text(table % "")
    before, everything = code_hash(tree), code_hash(tree, registered=True)
    path.write_text(table % ', "two": "cmbfit.theory.two:x"')
    (tree / "cmbfit/theory/two.py").write_text("x = 2\n")
    assert code_hash(tree) == before
    assert code_hash(tree, registered=True) != everything
    # what is taken from a table counts with its module
    taken = codehash.code_hash("cmbfit.theory.two:x", root=tree)
    (tree / "cmbfit/theory/two.py").write_text("x = 3\n")
    codehash.forget()
    assert codehash.code_hash("cmbfit.theory.two:x", root=tree) != taken


def test_a_user_s_file_counts_with_what_it_imports(tree: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text("from cmbfit.theory import unused\n")
    before = code_hash(tree, files=[own])
    (tree / "cmbfit/theory/unused.py").write_text("x = 2\n")
    after = code_hash(tree, files=[own])
    own.write_text("from cmbfit.theory import unused\nx = 1\n")
    assert len({before, after, code_hash(tree, files=[own])}) == 3


def test_the_real_sampler_s_code_includes_the_likelihood_but_no_figures_and_no_models() -> None:
    found = codehash.code_files("pipeline.sample_posterior")
    assert {"cmbfit.likelihood.compiled", "cmbfit.theory.emulator.linear", "cmbfit.io"} <= set(found)
    other = (
        "cmbfit.figures",
        "cmbfit.report",
        "cmbfit.theory.primordial.kink",
        "cmbfit.likelihood.datasets.bicep",
    )
    assert not any(name.startswith(other) for name in found)
    everything = codehash.code_files("pipeline.sample_posterior", registered=True)
    assert {"cmbfit.theory.primordial.kink", "cmbfit.likelihood.datasets.bicep"} <= set(everything)


def test_every_file_of_the_package_counts_for_a_module_or_for_the_fits_that_use_it() -> None:
    package = Path(cmbfit.__file__).parent
    by_modules = {p for module in package.rglob("*.py") for p in codehash.claimed(module, package)}
    lost = [
        p.relative_to(package).as_posix()
        for p in codehash.resources_of(package)
        if p not in by_modules and p not in codehash.chosen_by_fits(package)
    ]
    assert not lost, "name them where they are read, or declare them in codehash.py"
    assert package / "theory/hawking/injection_response.npz" in by_modules
