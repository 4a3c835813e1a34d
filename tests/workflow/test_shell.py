"""What reaches a shell: quoted fields and files of the configuration, never its text as code."""

from __future__ import annotations

import copy
import inspect
import json
import re
import shlex
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cmbfit.config import load_config
from cmbfit.config.check import schema_problems
from cmbfit.errors import CmbfitError
from pipeline.plan import Plan

from .conftest import ROOT, Checkout
from .graph import graph_of
from .inprocess import words_of

pytestmark = pytest.mark.workflow
CONFIGS = ROOT / "pipeline/config"
NAMES = ("train", "wmap9", "planck2018", "early_universe", "evaporation", "ground")
EVIL = "-n $(touch marker) `touch marker`; {input} {{x}} ${HOME} 'a\" b\n* &"


@pytest.mark.parametrize("name", NAMES)
def test_commands_quote_every_field_and_no_parameter_is_made_from_inputs(name: str, tmp_path: Path) -> None:
    """Snakemake does not see when a parameter that takes `input` changes, and would not run the rule again."""
    for rule in graph_of(tmp_path, [CONFIGS / f"{name}.yaml"]).rules:
        for key, value in rule.params._allitems():
            if callable(value):
                assert list(inspect.signature(value).parameters) in (["wc"], ["wildcards"]), (rule.name, key)
        if rule.shellcmd is None:
            assert not rule.output, rule.name
            continue
        fields = [(f, spec) for _, f, spec, _ in string.Formatter().parse(rule.shellcmd) if f is not None]
        assert fields
        assert {spec for _, spec in fields} == {"q"}, rule.name
        assert not re.search(r"[$`;]", rule.shellcmd), rule.name


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Return the places of all texts in a configuration."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for key, x in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(x, (*path, key))


def changed(config: dict[str, Any], path: tuple, value: str) -> dict[str, Any]:
    out = copy.deepcopy(config)
    place: Any = out
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return out


def accepted(config: dict[str, Any]) -> bool:
    """Whether schema and plan take a configuration."""
    if schema_problems(config):
        return False
    try:
        plan = Plan(config)
        plan.uses(*plan.fits.values())
    except (CmbfitError, KeyError):
        return False
    return True


@pytest.mark.parametrize("name", ["tiny", "wmap9", "evaporation"])
def test_no_text_of_a_configuration_is_more_than_one_word(name: str, tmp_path: Path) -> None:
    """Each text that a configuration may freely choose, all at once: commands stay the same but for files' hashes."""
    config = load_config([name])
    plain = graph_of(tmp_path, [CONFIGS / f"{name}.yaml"])
    changes = 0
    for path in list(leaves(config)):
        if accepted(other := changed(config, path, EVIL)):
            config, changes = other, changes + 1
    assert changes > 3
    (tmp_path / "evil.yaml").write_text(yaml.safe_dump(config))
    evil = graph_of(tmp_path, [tmp_path / "evil.yaml"])
    hashes = re.compile(r"(/config/[\w.]+\.)[0-9a-f]{12}(?=\.json)")
    before = {j.outputs: words_of(j) for j in plain.jobs}
    assert set(before) == {j.outputs for j in evil.jobs}
    held = 0
    for job in evil.jobs:
        for old, new in zip(before[job.outputs], words_of(job), strict=True):
            if EVIL in new:
                held += 1
                assert re.fullmatch(r"--[a-z-]+=" + re.escape(EVIL), new)
            else:
                assert hashes.sub(r"\1", new) == hashes.sub(r"\1", old)
    assert held + sum(EVIL in json.dumps(v, ensure_ascii=False) or json.dumps(EVIL)[1:-1] in json.dumps(v)
                      for v in evil.sections._values.values()) > 3  # fmt: skip
    assert not list(tmp_path.rglob("marker"))


@pytest.mark.slow
def test_two_hundred_fits_make_no_long_command(tmp_path: Path) -> None:
    config = load_config()
    first = config["run"]["fits"][0]
    fits = {f"fit_{i:03}": {**config["fits"][first], "title": f"number {i}"} for i in range(200)}
    more = {"run": {"fits": list(fits)}, "fits": fits, "comparison": {"fixed": {"harrison_zeldovich": None}}}
    (tmp_path / "many.yaml").write_text(yaml.safe_dump(more))
    jobs = graph_of(tmp_path, [tmp_path / "many.yaml"]).jobs
    assert len(jobs) > 2000
    longest = max(jobs, key=lambda j: len(j.command))
    assert len(longest.command) < 2500, longest.command


@pytest.mark.slow
def test_a_title_with_braces_and_a_folder_with_a_space_and_quotes_run(
    checkout: Checkout, tmp_path: Path
) -> None:
    folder = tmp_path / 'a run\'s "own"'
    folder.mkdir()
    remark = "all of $n_{s} = 0.985$ {fit} $(touch marker)"
    change = {"fits": {"lcdm_planck2018": {"title": remark}}, "spectra": {"remark": remark}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(change))
    target = "results/tiny/checks/spectra.json"
    words = [sys.executable, "-m", "snakemake", "-s", str(checkout.root / "Snakefile"), "--cores", "2"]
    config = ["--configfile", str(checkout.root / "pipeline/config/tiny.yaml"), "mine.yaml"]
    for extra in (["--dry-run"], [target, "--show-failed-logs"]):
        run = subprocess.run(
            [*words, *extra, *config], cwd=folder, env=checkout.environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-3000:]
        assert (folder / "results/tiny/config").exists() == ("--dry-run" not in extra)
    checks = json.loads((folder / target).read_text())["checks"]
    assert any(remark in c["comment"] for c in checks)
    assert not list(folder.rglob("marker"))


def test_a_stage_takes_values_that_look_like_options(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pipeline", "fetch_data", "--name=-x $(a)", f"--output={tmp_path / 'x'}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert "-x $(a): not in the data registry" in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert shlex.quote("-x $(a)") == "'-x $(a)'"


def test_the_stages_are_listed_without_being_imported() -> None:
    text = subprocess.run(
        [sys.executable, "-m", "pipeline", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"^sample_posterior +Run one independent chain", text, re.MULTILINE)
    assert "plan" not in re.findall(r"^(\w+)", text, re.MULTILINE)
