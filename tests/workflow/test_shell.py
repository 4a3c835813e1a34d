"""What reaches a shell: quoted fields and files of the configuration, never its text as code."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import string
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import yaml

from cmbfit.config import load_config
from cmbfit.config.check import schema_problems
from cmbfit.config.read import unusable_values
from cmbfit.errors import CmbfitError
from cmbfit.io import write_json
from cmbfit.report.checks import below, write_checks
from pipeline.plan import Plan
from tests.report.example import SUMMARY

from .conftest import ROOT, Checkout, copy_checkout
from .graph import Job, built, graph_of
from .loaded import kept, loaded
from .test_leaves import BASES, LEAVES, VALUES, Place, at, config_of, places, used, with_value


def _texts(node: Mapping[str, Any]) -> bool:
    """Whether a leaf of the schema may hold text, alone or in a list."""
    kinds = node.get("type", [])
    return (
        "string" in ([kinds] if isinstance(kinds, str) else kinds)
        or any(isinstance(x, str) for x in node.get("enum", ()))
        or any(_texts(x) for key in ("oneOf", "anyOf") for x in node.get(key, ()))
        or ("items" in node and _texts(node["items"]))
    )


pytestmark = pytest.mark.workflow
EVIL = "-n $(touch marker) `touch marker`; touch marker # {input} {{x}} {x!r} ${HOME} 'a\" b\n* \\ & ~ é"
TEXTS = {place: node for place, node in LEAVES.items() if _texts(node)}


def text_places(config: dict[str, Any], pattern: Place) -> list[Place]:
    """Return where a configuration has a text that its run looks at."""
    found = (x for x in places(config, pattern) if used(config, x))
    return [x for x in found if isinstance(at(config, x), str | int | list)]


def used_place(pattern: Place) -> tuple[dict[str, Any], Place]:
    """Return a configuration that has a text, and where."""
    if said := VALUES.get(".".join(pattern)):
        place = tuple(said[1].split("."))
        return with_value(config_of(said[0]), place, said[2]), place
    return next((config_of(b), x) for b in BASES for x in text_places(config_of(b), pattern))


def with_text(config: dict[str, Any], place: Place, text: str) -> dict[str, Any]:
    """Return a configuration with a text, of a list its first, replaced."""
    old = at(config, place)
    config = json.loads(json.dumps(config))  # sections that share one object part
    return with_value(config, place, [text, *old[1:]] if isinstance(old, list) else text)


def refusal(config: dict[str, Any]) -> str | None:
    """Return why schema or plan refuse a configuration, None where they take it."""
    if problems := [*unusable_values(config), *schema_problems(config)]:
        return "; ".join(problems)
    try:
        plan = Plan(config)
        plan.uses(*plan.fits.values())
    except CmbfitError as error:
        return str(error)
    return None


def free_keys(config: Any, patterns: Iterable[Place]) -> Iterator[Place]:
    """Return places whose last key is a name that a user chooses, one of each sort."""
    for pattern in sorted({p[: i + 1] for p in patterns for i, key in enumerate(p) if key == "*"}):
        if found := next((x for x in places(config, pattern) if used(config, x)), None):
            yield found


def with_key(config: dict[str, Any], place: Place, key: str) -> dict[str, Any]:
    """Return a configuration with the last key of a place renamed."""
    section = at(config, place[:-1])
    return with_value(config, place[:-1], {key if k == place[-1] else k: x for k, x in section.items()})


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> set[Place]:
    """Return the leaves that take a text as it comes; all others must refuse it by their own name."""
    found = set()
    with kept(), chdir(tmp_path_factory.mktemp("texts")):
        Path("mine.py").write_text("class A: ...\n\n\nclass B: ...\n")
        for pattern in TEXTS:
            config, place = used_place(pattern)
            said = refused(config, place, EVIL)
            if said is None:
                found.add(pattern)
            else:  # valid but for its end, which Python's $ does not see
                refused(config, place, f"{first_text(at(config, place))}\n")
            for text in ("x\0y", "\x1b[2J"):
                assert refused(config, place, text) is not None, place
    return found


def refused(config: dict[str, Any], place: Place, text: str) -> str | None:
    """Return why a text is refused, which must be said by its place; None where it is taken."""
    said = refusal(with_text(config, place, text))
    # an entry of a list may be named by its number
    named = rf"(^|; ){re.escape('.'.join(place))}(\[0\])*: "
    assert said is None or re.search(named, said), (place, said)
    return said


def first_text(value: Any) -> str:
    if isinstance(value, list):
        return first_text(value[0]) if value else "x"
    return str(value)


def test_a_text_is_taken_or_refused_by_the_place_of_its_key(taken: set[Place]) -> None:
    assert len(TEXTS) > 100
    assert {place[-1] for place in taken} == {
        *("author", "remark", "title", "title_a", "title_b", "source", "label", "published"),
        # judged by the stage that has the file, or the parameters
        *("member", "hdus", "column", "mask_column", *"tebp", "bbn_table", "shifted"),
        # patterns of checks, held against a run's when it is opened; surveys and parts, by the stage that has the fit's data
        *("checks", "surveys", "*"),
    }


def run_by_shell(jobs: Sequence[Job], folder: Path) -> list[list[str]]:
    """Return the words that bash hands to `python` for each job's command, as Snakemake has bash run it."""
    for job in jobs:
        for log in job.logs:
            (folder / log).parent.mkdir(parents=True, exist_ok=True)
    stub = "python() { printf '%s\\0' \"$@\" END >&3; }\n"
    script = stub + "\n".join(f"( set -euo pipefail; {job.command} ) || exit 9" for job in jobs)
    (folder / "all.sh").write_text(script)
    run = subprocess.run(
        ["bash", "-c", "exec bash all.sh 3>words"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found, words = [], []
    for word in (folder / "words").read_text().split("\0")[:-1]:
        if word == "END":
            found.append(words)
            words = []
        else:
            words.append(word)
    assert len(found) == len(jobs)
    return found


def evil(base: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Place]]:
    """Return a configuration, the same with every text and name that may be anything replaced, and which is where."""
    plain, config, texts = config_of(base), config_of(base), {}
    for pattern in TEXTS:
        said = VALUES.get(".".join(pattern))
        # what no shipped configuration says is laid over both
        value = {tuple(said[1].split(".")): said[2]} if said and said[0] == base else {}
        for place in dict.fromkeys([*value, *text_places(plain, pattern)]):
            text = f"{EVIL}{len(texts)}"
            under = with_value(config, place, value[place]) if place in value else config
            if refusal(changed := with_text(under, place, text)) is None:
                config, texts[text] = changed, place
                plain = with_value(plain, place, value[place]) if place in value else plain
    for place in free_keys(plain, LEAVES):
        # a key has no line break (unusable_values)
        key = f"{EVIL}{len(texts)}".replace("\n", " ")
        if refusal(changed := with_key(config, place, key)) is None:
            config, texts[key] = changed, place
    return plain, config, texts


HASHES = re.compile(r"(/config/[\w.]+\.)[0-9a-f]{12}(?=\.json)|(?<=--code=)[0-9a-f]{16}$")


def handed_on(base: str, folder: Path) -> set[Place]:
    """Require that bash makes the same words of commands but for the texts; return the places of these.

    Every text that the configuration may freely choose is set at once.
    """
    graphs = []
    with kept(), chdir(folder):
        plain_config, config, texts = evil(base)
        for made in (plain_config, config):
            with loaded(made, folder) as api:
                graphs.append(built(api, ["all"]))
        graphs[1].sections.write()
    words = [run_by_shell(graph.jobs, folder) for graph in graphs]
    plain, other = (
        {j.outputs: w for j, w in zip(g.jobs, ws, strict=True)} for g, ws in zip(graphs, words, strict=True)
    )
    assert set(plain) == set(other)
    passed: set[str] = set()
    for outputs in other:
        for old, new in zip(plain[outputs], other[outputs], strict=True):
            if EVIL in new:
                option, _, value = new.partition("=")
                assert re.fullmatch(r"--[a-z-]+", option)
                passed.add(value)
            else:
                assert HASHES.sub(r"\1", new) == HASHES.sub(r"\1", old)
    for file in folder.glob("results/*/config/*.json"):
        if not file.name.startswith("config."):  # the whole configuration is for the record
            passed |= set(all_texts(json.loads(file.read_text())))
    for_the_record = {("run", "author")}  # of the crate, which takes it from the whole configuration
    assert {place for text, place in texts.items() if text not in passed} <= for_the_record, base
    assert not list(folder.rglob("marker"))
    return set(texts.values())


def test_a_shell_hands_every_text_on_as_it_is(tmp_path: Path) -> None:
    assert len(handed_on("default", tmp_path)) > 10


@pytest.mark.slow
def test_a_shell_hands_the_texts_of_every_leaf_on_as_they_are(taken: set[Place], tmp_path: Path) -> None:
    found: set[Place] = set()
    for base in BASES.keys() - {"own", "simulated"}:
        (tmp_path / base).mkdir()
        found |= handed_on(base, tmp_path / base)
    assert not {pattern for pattern in taken if not any(matches(pattern, place) for place in found)}


def matches(pattern: Place, place: Place) -> bool:
    return len(pattern) == len(place) and all(a in ("*", b) for a, b in zip(pattern, place, strict=True))


def all_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for x in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from all_texts(x)


def test_commands_quote_every_field_and_no_parameter_is_made_from_inputs(tmp_path: Path) -> None:
    """Snakemake does not see when a parameter that takes `input` changes, and would not run the rule again."""
    rules = {}
    with kept():
        for base in ("tiny", "wmap9", "early", "train", "family", "ground", "freeform", "lqc", "subsets"):
            with loaded(config_of(base), tmp_path) as api:
                rules |= {rule.name: rule for rule in api._workflow.rules}
    for path in (ROOT / "pipeline/rules").glob("*.smk"):
        assert set(re.findall(r"^ *rule (\w+):", path.read_text(), re.MULTILINE)) <= set(rules)
    for rule in rules.values():
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


def many(n: int) -> dict[str, Any]:
    """Return a configuration of n small fits."""
    config = load_config()
    first = config["fits"][config["run"]["fits"][0]]
    fits = {f"fit_{i:03}": {**first, "title": f"number {i}"} for i in range(n)}
    comparison = {**config["comparison"], "fixed": {}}
    return {**config, "run": {**config["run"], "fits": list(fits)}, "fits": fits, "comparison": comparison}


def test_the_time_to_plan_grows_with_the_number_of_fits(tmp_path: Path) -> None:
    """Four times the fits take four times as long; sixteen times, were each held against each other."""
    seconds = {}
    with kept(), chdir(tmp_path):
        for n in (1, 40, 160):  # the first loads what all need
            start = time.process_time()
            Plan(many(n))
            seconds[n] = time.process_time() - start
    assert seconds[160] < 8 * max(seconds[40], 0.05), seconds


@pytest.mark.slow
def test_a_run_of_two_hundred_fits_plans_and_its_summary_runs(tmp_path: Path) -> None:
    """The kernel takes 128 KiB a word (MAX_ARG_STRLEN); the configuration of 200 fits alone has more."""
    config = many(200)
    assert len(json.dumps(config)) > 2**17
    (tmp_path / "many.yaml").write_text(yaml.safe_dump(config))
    graph = graph_of(tmp_path, [tmp_path / "many.yaml"])
    assert len(graph.jobs) > 4000
    longest = max(graph.jobs, key=lambda j: len(j.command))
    assert len(longest.command) < 2500, longest.command
    (job,) = (j for j in graph.jobs if j.rule == "write_summary")
    fit = {k: x for k, x in SUMMARY["fits"]["lcdm"].items() if k != "reweighted"}
    with chdir(tmp_path):
        graph.sections.write()
        for i, file in enumerate(x for x in job.inputs if not Path(x).is_absolute()):
            if "/checks/" in file:
                write_checks(file, [below("made up", i, 1e9)])
            elif file.endswith(".summary.json"):
                name = Path(file).name.removesuffix(".summary.json")
                write_json(file, fit | {"title": f"made up for {name}"})
            else:
                write_json(file, SUMMARY["fits"]["lcdm"]["reweighted"])
        Path(job.logs[0]).parent.mkdir(parents=True)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(["bash", "-c", job.command], cwd=tmp_path, env=environment, check=False)
    assert run.returncode == 0, (tmp_path / job.logs[0]).read_text()
    summary = json.loads((tmp_path / job.outputs[0]).read_text())
    assert [f["title"] for f in summary["fits"].values()] == [f"made up for fit_{i:03}" for i in range(200)]
    assert len(summary["checks"]) > 600
    assert len(summary["provenance"]["inputs"]) > 1000
    assert set(config["fits"]) <= set(summary["provenance"]["settings"]["fits"])


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


@pytest.mark.slow
def test_the_shipped_configuration_runs_in_a_checkout_of_any_name(tmp_path: Path) -> None:
    """Spaces, quotes and a command in the checkout's own path; braces, which Snakemake cannot have there, are refused."""
    here = copy_checkout(tmp_path / 'a checkout\'s "own" $(touch marker) `touch marker` place; touch marker')
    dry = here.snakemake("--dry-run", "--printshellcmds", config=None)
    assert dry.returncode == 0, dry.stdout[-3000:] + dry.stderr[-3000:]
    lines = re.findall(r"(python -m pipeline .*)$", dry.stdout + dry.stderr, re.MULTILINE)
    assert len(lines) > 40
    jobs = [Job("", (), (), tuple(re.findall(r"results/\S+\.log", line)), line) for line in lines]
    words = run_by_shell(jobs, here.root)
    bundle = str(here.root / "cmbfit/theory/emulator/bundles/lcdm_planck2018/manifest.json")
    assert any(f"--emulator={bundle}" in line for line in words)
    target = "results/default/checks/spectra.json"
    run = here.snakemake(target, config=None)
    assert run.returncode == 0, run.stderr[-3000:]
    assert all(c["pass"] for c in json.loads((here.root / target).read_text())["checks"])
    assert not list(tmp_path.rglob("marker"))
    braces = tmp_path / "{place}"
    here.root.rename(braces)
    refused = Checkout(braces).snakemake("--dry-run", config=None)
    assert refused.returncode != 0
    assert "expected a path without braces and line breaks" in refused.stdout + refused.stderr


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
