"""The documents' YAML: each configuration goes through every door; what is none says so, and is read strictly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.cli.fit import read_fit
from cmbfit.config import load_config
from cmbfit.config.check import MOVED, schema_problems
from cmbfit.config.load import parse_overrides
from cmbfit.config.read import parse_yaml
from cmbfit.fit.run import Run, complete_run
from pipeline.plan import Plan
from tests.conftest import ROOT
from tests.docs.blocks import Block, blocks, configurations, write_files

CONFIGURATIONS = configurations()


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's folder: the page's files, its block as mine.yaml; code is allowed."""
    block = request.param
    write_files(tmp_path, block.where.rpartition(":")[0])
    (tmp_path / "mine.yaml").write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    return tmp_path


def each(chosen: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("home", chosen, indirect=True, ids=[b.where for b in chosen])


@each(CONFIGURATIONS)
def test_both_doors_take_a_configuration_and_make_the_same_fits_of_it(home: Path) -> None:
    name = str(home / "mine.yaml")
    # the Snakefile: its loader on files and --config, then the plan before the rules
    planned = Plan(load_config([name], parse_overrides([]))).fits
    # cmbfit fit, compare, bench and Python
    run: Run = complete_run(load_config([name]))
    assert run.fits
    for fit in run.fits:
        assert read_fit(name, None, fit)[1].describe() == run.fits[fit].describe() == planned[fit].describe()


@each(CONFIGURATIONS)
def test_check_finds_nothing_wrong(home: Path) -> None:
    checked = CliRunner().invoke(app, ["check", str(home / "mine.yaml")], catch_exceptions=False)
    assert checked.exit_code == 0, checked.stderr
    assert "nothing wrong" in checked.stdout


@each([max(CONFIGURATIONS, key=lambda b: len(b.text))])
@pytest.mark.slow
def test_snakemake_plans_the_largest(home: Path) -> None:
    """A dry run of the Snakefile itself, in a process of its own."""
    dry = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1", "-n", "--configfile", "mine.yaml"],
        cwd=home, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert dry.returncode == 0, dry.stderr[-3000:]
    fits = load_config([home / "mine.yaml"])["run"]["fits"]
    chains = re.search(r"^sample_posterior\s+(\d+)$", dry.stdout, re.MULTILINE)
    assert chains is not None
    assert int(chains[1]) == 2 * len(fits)


def test_what_is_no_configuration_says_so_and_is_yaml() -> None:
    others = [b for b in blocks() if b.kind == "yaml" and b.reason is not None]
    assert len(CONFIGURATIONS) >= 8
    assert len(others) < len(CONFIGURATIONS)
    for block in others:
        value = parse_yaml(block.text, block.where)
        assert isinstance(value, dict), block.where
        # a marker is no way out for a configuration
        assert schema_problems(value), block.where
        assert not set(value) & {"run", "fits", "comparison"}, block.where


def test_the_table_of_moved_keys_is_complete() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    _, _, table = text.partition("## Keys that have moved")
    rows = set(re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE))
    assert rows == {".".join("NAME" if part == "*" else part for part in pattern) for pattern in MOVED}
