"""Sections of a configuration read into the frozen dataclass that owns them: names, types, its own checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from cmbfit.errors import ConfigError, shown, unknown_name

T = TypeVar("T")

_TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    bool: ((bool,), "true or false"),
}
"""Annotation to the types that a value may have, and their name in messages."""


def read_settings(kind: type[T], given: Mapping[str, Any], where: str, owner: str) -> T:
    """Return the settings of a section.

    Parameters
    ----------
    kind : type
        A dataclass whose fields are int, float, str or bool and have defaults; its ``__post_init__`` may raise
        :class:`ConfigError` in the form ``FIELD: expected ...``.
    given : mapping
        The section, without what names the owner.
    where : str
        Its place in the configuration, for messages.
    owner : str
        Whose settings these are, for messages.

    Raises
    ------
    ConfigError
        For a key that is not the owner's, a value of another type (1.0 is no whole number, text is no number), or a
        value that the owner refuses; by its place.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Walk:
    ...     steps: int = 10
    >>> read_settings(Walk, {"stepps": 3}, "sampler", "walk")
    Traceback (most recent call last):
    cmbfit.errors.ConfigError: sampler.stepps: unknown setting of walk 'stepps'; did you mean 'steps'? (known: steps)
    """
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f"{where}.{key}: {unknown_name(f'setting of {owner}', key, known)}")
        types, name = _TYPES.get(hints[key], ((object,), ""))
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and name):
            raise ConfigError(f"{where}.{key}: expected {name}, found {shown(value)}")
        number: Any = value
        values[key] = float(number) if hints[key] is float else value
    try:
        return kind(**values)
    except ConfigError as error:
        joint = "." if str(error).partition(":")[0] in known else ": "
        raise ConfigError(f"{where}{joint}{error}") from error
