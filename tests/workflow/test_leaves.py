"""Every value of a configuration makes what it changes run again: each leaf of the schema, one at a time."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from snakemake.exceptions import WorkflowError

from cmbfit.config import load_config
from cmbfit.config.check import schema, schema_problems
from cmbfit.inference.ensemble import EnsembleSettings
from cmbfit.inference.hmc import HmcSettings
from cmbfit.inference.nested import NestedEvidenceSettings

from .conftest import ROOT
from .leaf_values import BASES, FROZEN, MOVES_NO_NUMBER, REACHES, REFUSED, VALUES
from .loaded import Job, jobs_of, kept, moved, seen

pytestmark = pytest.mark.workflow
Place = tuple[str, ...]
Node = Mapping[str, Any]


def leaves(node: Node, place: Place = ()) -> Iterator[tuple[Place, Node]]:
    """Return the places of a schema's values, * for names that a user chooses."""
    if ref := node.get("$ref"):
        yield from leaves(schema()["$defs"][ref.rpartition("/")[2]], place)
    parts = [x for x in node.get("oneOf", ()) if "properties" in x or "$ref" in x]
    for part in parts:
        yield from leaves(part, place)
    for name, part in node.get("properties", {}).items():
        yield from leaves(part, (*place, name))
    others, inner = node.get("additionalProperties"), node.get("items", {})
    if isinstance(others, Mapping):
        yield from leaves(others, (*place, "*"))
    elif "properties" in inner:
        yield from leaves(inner, (*place, "0"))
    elif (
        not parts and not ref and "properties" not in node and {"type", "enum", "oneOf", "anyOf"} & set(node)
    ):
        yield place, node


LEAVES = dict(leaves(schema()))
# what the sampler and the evidence's method check themselves
LEAVES |= {
    (*where, f.name): {"type": "number"}
    for where, kinds in {
        ("fits", "*", "sampler"): (EnsembleSettings, HmcSettings),
        ("comparison", "evidence"): (NestedEvidenceSettings,),
    }.items()
    for kind in kinds
    for f in dataclasses.fields(kind)
}
# texts that a oneOf with a section leaves out
LEAVES |= {
    ("maps", kind, "*", "detectors", "*", "beam"): {"type": "string"}
    for kind in ("fields", "channels", "templates")
}


def other(value: Any, node: Node) -> Any:
    """Return another valid value in the place of one."""
    if "enum" in node:
        return next(x for x in node["enum"] if x != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        step = (
            1 if isinstance(value, int) and (node["type"] != "number" or value > 1) else value / 1000 or 0.001
        )
        return value + step if value + step <= node.get("maximum", value + step) else value - step
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list) and value and all(isinstance(x, int | float | None) for x in value):
        last = value[-1] if value[-1] is not None else 1.0
        return [*value[:-1], last - 1 if isinstance(last, int) and last > 2 else last * 0.999]
    return value[:-1]


@cache
def config_of(base: str) -> dict[str, Any]:
    name, over, _ = BASES[base]
    config = laid(load_config([name]), over)
    assert not schema_problems(config), base
    return config


def laid(config: Any, over: Any) -> Any:
    """Merge every section, those too that a configuration replaces as a whole."""
    if not (isinstance(config, Mapping) and isinstance(over, Mapping)):
        return over
    return {**config, **{key: laid(config.get(key), value) for key, value in over.items()}}


def used(config: dict[str, Any], place: Place) -> bool:
    """Whether a run looks at a place: not at fits and bands that it does not have."""
    if place[0] == "fits":
        return place[1] in config["run"]["fits"]
    if place[:2] == ("comparison", "fixed"):
        return (config["comparison"]["fixed"][place[2]] or {}).get("fit") in config["run"]["fits"]
    survey = "fields" in config["maps"]
    if place[:2] in {("maps", "bands"), ("spectra", "pair")}:
        return not survey and (place[1] == "pair" or place[2] in config["spectra"]["pair"])
    return not (survey and place[:2] in {("maps", "mask"), ("maps", "apodisation")})


def places(value: Any, pattern: Place, place: Place = ()) -> Iterator[Place]:
    """Return where a configuration has a leaf."""
    if not pattern:
        yield place
    elif isinstance(value, list) and pattern[0] == "0":
        yield from places(value[0], pattern[1:], (*place, "0"))
    elif isinstance(value, Mapping):
        for key in list(value) if pattern[0] == "*" else [pattern[0]] if pattern[0] in value else []:
            yield from places(value[key], pattern[1:], (*place, key))


def at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[int(key)] if isinstance(value, list) else value.get(key, {})
    return value


def with_value(config: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    out = copy.deepcopy(config)
    inner: Any = out
    for key in place[:-1]:
        inner = inner[int(key)] if isinstance(inner, list) else inner.setdefault(key, {})
    inner[place[-1]] = value
    return out


def change_of(pattern: Place) -> tuple[str, dict[str, Any]] | None:
    """Return a configuration's name and the configuration with another value of a leaf; None where nobody has it."""
    if said := VALUES.get(".".join(pattern)):
        base, place, value = said[0], tuple(said[1].split(".")), said[2]
        return base, with_value(config_of(base), place, value)
    for base in BASES:
        config = config_of(base)
        for place in places(config, pattern):
            value = at(config, place)
            if used(config, place) and value is not None and not isinstance(value, Mapping):
                return base, with_value(config, place, other(value, LEAVES[pattern]))
    return None


def silent_leaves(
    places: Iterable[Place], folder: Path, snakefile: Path = ROOT / "Snakefile"
) -> dict[str, Any]:
    """Return the leaves whose change would not make run again what takes them, each with what is wrong."""
    (folder / "mine.py").write_text("class A: ...\n\n\nclass B: ...\n")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/manifest.json").write_text("{}")
    before: dict[str, dict[Job, dict[str, str]]] = {}
    wrong: dict[str, Any] = {}
    for place in places:
        name = ".".join(place)
        if (found := change_of(place)) is None:
            wrong[name] = "no configuration here has it"
            continue
        base, config = found
        if name in REFUSED:
            if not schema_problems(config):
                wrong[name] = "is not refused any more"
            continue
        if problems := schema_problems(config):
            wrong[name] = problems
            continue
        if base not in before:
            whole = config_of(base)
            jobs = jobs_of(whole, folder, ("all", *BASES[base][2]))
            before[base] = seen(whole, folder, jobs, snakefile)
        try:
            again = moved(before[base], seen(config, folder, before[base], snakefile))
        except WorkflowError as error:
            if FROZEN.get(name, "\n") not in str(error):
                wrong[name] = str(error)
            continue
        if name in FROZEN:
            wrong[name] = "is not refused any more"
            continue
        asked = set().union(*(rules for key, rules in REACHES.items() if fnmatchcase(name, key)))
        if missing := asked & {job[0] for job in before[base]} - again:
            wrong[name] = f"{sorted(missing)} would not run again, only {sorted(again)}"
        elif not again and name not in MOVES_NO_NUMBER:
            wrong[name] = "nothing would run again"
    return wrong


@pytest.mark.slow
def test_every_value_of_a_configuration_makes_something_run_again(tmp_path: Path) -> None:
    """The summary, which shows the whole configuration, does not count."""
    assert len(LEAVES) > 270
    with kept():
        wrong = silent_leaves(LEAVES, tmp_path)
    assert not wrong, "\n".join(f"{name}: {why}" for name, why in wrong.items())


def test_the_walk_sees_a_value_that_rules_lost(tmp_path: Path) -> None:
    """Two rules that no longer take what the configuration says."""
    rules = tmp_path / "pipeline/rules"
    shutil.copytree(ROOT / "pipeline/rules", rules)
    shutil.copy(ROOT / "Snakefile", tmp_path)
    for file, sound, faulty in (
        ("exact.smk", "seed=PLAN.seed,", "seed=1,"),
        ("spectra.smk", 'signal=PLAN.spectra["signal"],', 'signal=["tt"],'),
    ):
        text = (rules / file).read_text()
        assert sound in text
        (rules / file).write_text(text.replace(sound, faulty))
    with kept():
        wrong = silent_leaves([("run", "seed"), ("spectra", "signal")], tmp_path, tmp_path / "Snakefile")
    assert set(wrong) == {"run.seed", "spectra.signal"}
    assert "compute_exact" in wrong["run.seed"]
