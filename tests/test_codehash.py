"""The code hash of a rule: it follows imports to any depth and ignores what does not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import codehash

TREE = {
    "pipeline/__init__.py": "",
    "pipeline/fit.py": "from cmbfit.likelihood import gaussian\n\n\ndef main():\n    gaussian.f()\n",
    "pipeline/plot.py": "import cmbfit.figures\n",
    "cmbfit/__init__.py": "",
    "cmbfit/io.py": "def save():\n    return 1\n",
    "cmbfit/figures/__init__.py": "import matplotlib\n",
    "cmbfit/likelihood/__init__.py": '"""Doc."""\n',
    "cmbfit/likelihood/gaussian.py": "from ..theory import deep\nfrom . import priors\n\n\ndef f():\n    return deep.g()\n",
    "cmbfit/likelihood/priors.py": "def lazy():\n    from cmbfit import io\n    return io.save()\n",
    "cmbfit/likelihood/planck.yaml": "data: [1]\n",
    "cmbfit/theory/__init__.py": "",
    "cmbfit/theory/deep.py": 'def g():\n    """Say two."""\n    return 2  # two\n',
    "cmbfit/theory/unused.py": "x = 1\n",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(codehash, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    for function in vars(codehash).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def code_hash(name: str) -> str:
    forget()
    return codehash.code_hash(name)


def edited(tree: Path, name: str, text: str) -> tuple[str, str]:
    """Hashes of `fit` before and after a file gets a new text."""
    before = code_hash("fit")
    (tree / name).parent.mkdir(exist_ok=True, parents=True)
    (tree / name).write_text(text)
    return before, code_hash("fit")


def test_files_are_followed_to_any_depth(tree: Path) -> None:
    found = {p.relative_to(tree).as_posix() for p in codehash.code_files("fit")}
    # a function's own imports count (io), relative ones too; figures and theory.unused do not
    skipped = {
        "pipeline/__init__.py",
        "pipeline/plot.py",
        "cmbfit/figures/__init__.py",
        "cmbfit/theory/unused.py",
    }
    assert found == {n for n in TREE if n.endswith(".py")} - skipped


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cmbfit/theory/deep.py", 'def g():\n    """Say TWO, and more."""\n    return 2\n'),
        ("cmbfit/theory/deep.py", "# a comment\n" + TREE["cmbfit/theory/deep.py"]),
        ("cmbfit/theory/deep.py", 'def g():\n\n    """Say two."""\n\n    return (\n        2\n    )\n'),
        ("cmbfit/likelihood/__init__.py", '"""Another."""\n'),
        ("cmbfit/theory/unused.py", "x = 2\n"),
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
        ("cmbfit/likelihood/new/dataset.yaml", "data: [3]\n"),
        ("pipeline/fit.py", TREE["pipeline/fit.py"] + "\n\nx = 1\n"),
    ],
)
def test_edits_that_run_change_the_hash(tree: Path, name: str, text: str) -> None:
    before, after = edited(tree, name, text)
    assert before != after


def test_entry_points_have_hashes_of_their_own(tree: Path) -> None:
    assert code_hash("fit") != code_hash("plot")
    with pytest.raises(FileNotFoundError, match=r"pipeline/absent\.py"):
        codehash.code_files("absent")


def test_the_real_sampler_s_code_includes_the_likelihood_but_no_figures() -> None:
    files = {p.relative_to(codehash.ROOT).as_posix() for p in codehash.code_files("sample_posterior")}
    assert {"cmbfit/likelihood/compiled.py", "cmbfit/theory/emulator/linear.py", "cmbfit/io.py"} <= files
    assert not any(f.startswith(("cmbfit/figures", "cmbfit/report")) for f in files)
