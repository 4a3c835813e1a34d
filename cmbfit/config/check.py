"""A configuration against its schema: every mistake at once, by its place, with the nearest known name."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

import jsonschema
import yaml
from jsonschema.exceptions import ValidationError

from cmbfit.config.read import dotted
from cmbfit.errors import shown

MOVED = {
    (
        "fits",
        "*",
        "sampler",
        "block_trajectories",
    ): "fits.{}.sampler.block_steps (HMC's steps are trajectories)",
}
"""Keys of earlier versions and where they are now."""


@cache
def schema() -> dict[str, Any]:
    """Return the schema of a run's configuration (JSON Schema, draft 2020-12)."""
    text = resources.files("cmbfit.config").joinpath("schema.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _is_integer(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # 1.0 is no whole number here


def _matches(_: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    # the $ of Python's re.search lets a line break follow
    if isinstance(value, str) and not re.fullmatch(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


@cache
def _validator() -> Any:
    base = jsonschema.Draft202012Validator
    strict = jsonschema.validators.extend(
        base, {"pattern": _matches}, type_checker=base.TYPE_CHECKER.redefine("integer", _is_integer)
    )
    return strict(schema())


def schema_problems(config: Mapping[str, Any]) -> list[str]:
    """Return what the schema refuses, one line each: the place, what was expected, what was found.

    Examples
    --------
    >>> [x for x in schema_problems({"run": {"name": "x", "seed": 1, "fits": ["a"], "sead": 2}}) if "sead" in x]
    ["run: unknown key 'sead'; did you mean 'seed'? (known: fits, name, seed)"]
    """
    moved = list(_moved(config))
    found = sorted(_validator().iter_errors(config), key=lambda e: [str(x) for x in e.absolute_path])
    # a moved key is unknown too
    return [*(moved or [line for error in found for line in _lines(error)]), *_edges(config)]


def _edges(config: Mapping[str, Any]) -> Iterator[str]:
    edges = config["spectra"].get("edges") if isinstance(config.get("spectra"), Mapping) else None
    if not isinstance(edges, list) or not all(isinstance(x, int | float) for x in edges):
        return
    if any(b <= a for a, b in itertools.pairwise(edges)):
        yield f"spectra.edges: expected rising multipoles, found {edges}"


def _moved(config: Mapping[str, Any]) -> Iterator[str]:
    for pattern, now in MOVED.items():
        places: list[tuple[tuple[str, ...], Any]] = [((), config)]
        for part in pattern:
            places = [
                ((*where, key), value[key])
                for where, value in places
                if isinstance(value, Mapping)
                for key in (value if part == "*" else [part] if part in value else [])
            ]
        for where, _ in places:
            names = [x for x, p in zip(where, pattern, strict=True) if p == "*"]
            yield f"{dotted(where)}: has moved: write {now.format(*names)}"


def _lines(error: ValidationError) -> Iterator[str]:
    where, value = dotted(tuple(error.absolute_path)) or "top level", error.instance
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        for key in value:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield f"{where}: unknown key {key!r}{hint} (known: {', '.join(known)})"
    elif error.validator == "required":
        yield f"{where}: {error.message.replace(' is a required property', '')} is missing"
    elif error.validator in ("oneOf", "anyOf") and error.context:
        # the branch that got furthest says most
        deepest = max(error.context, key=lambda e: (len(e.absolute_path), e.validator != "type"))
        if len(deepest.absolute_path) > len(error.absolute_path):
            yield from _lines(deepest)
        else:
            reasons = dict.fromkeys(line.partition(": ")[2] for e in error.context for line in _lines(e))
            yield f"{where}: {'; or '.join(reasons)}"
    elif error.validator == "type":
        yield f"{where}: expected {_kinds(error.validator_value)}, found {shown(value)}{_hint(value)}"
    elif error.validator == "enum":
        expected = ", ".join("null" if x is None else str(x) for x in error.validator_value)
        yield f"{where}: expected one of {expected}, found {shown(value)}"
    elif error.validator == "not" and isinstance(value, Mapping):
        yield f"{where}: holds a key that has no meaning here, found {', '.join(map(str, value))}"
    else:
        yield f"{where}: {error.message[:300]}"


def _kinds(kinds: str | list[str]) -> str:
    names = {"object": "a section", "array": "a list", "string": "text", "integer": "a whole number"}
    names |= {"number": "a number", "boolean": "true or false", "null": "null"}
    return " or ".join(names[k] for k in ([kinds] if isinstance(kinds, str) else kinds))


def _hint(value: Any) -> str:
    """YAML reads 1e-3 as text: say so."""
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        return f" (text to YAML; write {number!r} with a point in it, as in 1.0e-3)"
    return ""
