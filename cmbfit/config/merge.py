"""How one configuration is laid over another: sections merge, what is one thing replaces.

A prior, a list of data, a sampler, a method are one thing: a sampler's settings mean nothing to another one. What
was published for some data and priors is not inherited by a fit of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ONE_THING = (
    ("fits", "*", "priors", "*"),
    ("fits", "*", "sampler"),
    ("fits", "*", "theory"),
    ("fits", "*", "reference"),
    ("comparison", "evidence"),
    ("comparison", "fixed", "*", "values"),
    ("comparison", "nests", "*"),
    ("comparison", "tension", "*"),
    ("run", "blind"),
    ("spectra", "likelihood"),
    ("theory", "emulator", "train"),
)
"""Places whose value is taken whole from the later file."""

_EITHER = (
    (("theory", "emulator"), ("bundle", "train")),
    (("maps", "bands", "*"), ("map", "simulate")),
)
"""Places where one key stands instead of another: the later file's word holds."""

_BELONGS_TO = {
    "title": ("data", "theory"),
    "reference": ("data", "priors", "theory"),
    "gate": ("data", "priors", "theory"),
    "published": ("data", "priors", "theory"),
}
"""Keys of a fit that are not inherited where one of these differs."""


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `change` laid over it.

    Examples
    --------
    >>> merge({"fits": {"a": {"priors": {"ns": {"uniform": [0.9, 1.0]}}}}},
    ...       {"fits": {"a": {"priors": {"ns": {"gaussian": [0.96, 0.01]}}}}})
    {'fits': {'a': {'priors': {'ns': {'gaussian': [0.96, 0.01]}}}}}
    """
    out = _merge(base, change, ())
    for name, fit in (change.get("fits") or {}).items():
        before = (base.get("fits") or {}).get(name)
        if isinstance(before, Mapping) and isinstance(fit, Mapping):
            _drop_what_belonged_to_others(out["fits"][name], before, fit)
    return out


def _merge(base: Mapping[str, Any], change: Mapping[str, Any], where: tuple[str, ...]) -> dict[str, Any]:
    out = dict(base)
    for names in (names for pattern, names in _EITHER if _matches(where, pattern)):
        if sum(name in change for name in names) == 1:
            out = {k: v for k, v in out.items() if k not in names}
    for key, value in change.items():
        old, here = out.get(key), (*where, key)
        whole = any(_matches(here, pattern) for pattern in _ONE_THING)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not whole:
            out[key] = _merge(old, value, here)
        else:
            out[key] = value
    return out


def _matches(where: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    return len(where) == len(pattern) and all(p in ("*", x) for x, p in zip(where, pattern, strict=True))


def _drop_what_belonged_to_others(
    merged: dict[str, Any], before: Mapping[str, Any], change: Mapping[str, Any]
) -> None:
    for key, owners in _BELONGS_TO.items():
        if key in merged and key not in change and any(merged.get(o) != before.get(o) for o in owners):
            del merged[key]
