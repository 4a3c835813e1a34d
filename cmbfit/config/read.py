"""YAML as a configuration may hold it: a key given twice, NaN or a key with a line break is a mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from cmbfit.errors import ConfigError, shown
from cmbfit.io import reading

Where = tuple[str | int, ...]
"""Keys and list indices from the top of a configuration to a value."""


def dotted(where: Where) -> str:
    """Return a place in a configuration as messages write it.

    Examples
    --------
    >>> dotted(("fits", "mine", "data", 0))
    'fits.mine.data[0]'
    """
    out = ""
    for part in where:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where libyaml is there


class _Loader(_Safe):
    """YAML's safe loader that refuses keys given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice; keep one of them", key_node.start_mark
                )
            seen.add(key if isinstance(key, Hashable) else id(key))
        return dict(super().construct_mapping(node, deep))


def parse_yaml(text: str, name: str) -> Any:
    """Return the value of a YAML text.

    Parameters
    ----------
    text : str
    name : str
        Of its file, for messages.

    Raises
    ------
    ConfigError
        If it is not YAML, or a key is given twice.
    """
    try:
        with reading(name, "YAML", ConfigError):
            return yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)
    except ConfigError as error:
        if isinstance(error.__cause__, yaml.MarkedYAMLError) and error.__cause__.problem_mark is not None:
            cause, mark = error.__cause__, error.__cause__.problem_mark
            raise ConfigError(f"{name}, line {mark.line + 1}: {cause.problem}") from cause
        raise


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Return one configuration file, unmerged.

    Raises
    ------
    ConfigError
        If it is missing, not YAML, no mapping, or :func:`unusable_values` finds something.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration; expected a YAML file")
    with reading(path, "a text file in UTF-8", ConfigError):
        text = path.read_text(encoding="utf-8")
    value = parse_yaml(text, str(path))
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected sections such as run, fits and theory, found {shown(value)}")
    if (size := _size(value, {})) > _LARGEST:
        raise ConfigError(
            f"{path}: expected at most {_LARGEST} values, found {size:.0e}: aliases of aliases?"
        )
    if problems := list(unusable_values(value)):
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return value


_LARGEST = 100_000
"""Values of one file; the largest shipped has a thousand."""


def _size(value: Any, known: dict[int, int]) -> int:
    """Return how many values there are, an alias counted as often as it stands, in time that does not grow with that."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = 0  # a list that holds itself ends here
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]


_UNPRINTED = re.compile(r"[^\n\t -~\u00a0-\ud7ff\ue000-\U0010ffff]")
"""What no program takes as a word and no file as text: control characters but line breaks and tabs, half characters."""


def unusable_values(value: Any, where: Where = ()) -> Iterator[str]:
    """Yield what no configuration may hold: keys that are no names, numbers that are not finite, control characters."""
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str) or not key.isprintable() or not key.strip():
                yield f"{dotted(where) or 'top level'}: expected a name as key, found {shown(key)}"
            else:
                yield from unusable_values(part, (*where, key))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from unusable_values(part, (*where, i))
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{dotted(where)}: expected a finite number, found {value}"
    elif isinstance(value, str) and (odd := _UNPRINTED.search(value)):
        yield f"{dotted(where)}: expected text without control characters, found {odd[0]!r} in {shown(value)}"
    elif value is not None and not isinstance(value, str | int | float | bool):
        yield f"{dotted(where)}: expected text, a number, true or false, found {shown(value)}"
