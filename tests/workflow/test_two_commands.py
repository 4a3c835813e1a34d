"""What the README promises about its files."""

from __future__ import annotations

import re

from .conftest import ROOT


def test_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make run" in text
    assert "make test" in text


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_conda_and_pip_users_get_the_same_versions() -> None:
    assert "--constraint constraints.txt" in (ROOT / "environment.yml").read_text()
    assert "-c constraints.txt" in (ROOT / "Makefile").read_text()
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert {"torch", "camb", "healpy", "ducc0", "emcee", "snakemake"} <= {p.lower() for p in pins}
