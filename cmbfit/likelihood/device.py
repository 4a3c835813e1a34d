"""Copies of objects on another device."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def moved(thing: T, device: torch.device | str) -> T:
    """Return a shallow copy of an object whose tensors live on a device.

    Tensors are moved wherever they are: as attributes, in dicts, lists and tuples of attributes, and in parts
    that have a `to` of their own. Everything else is shared with the original.
    """
    out = copy.copy(thing)
    for name, value in vars(thing).items():
        out.__dict__[name] = _moved(value, device)
    return out


def _moved(value: Any, device: torch.device | str) -> Any:
    if hasattr(type(value), "to"):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(x, device) for key, x in value.items()}
    if type(value) in (list, tuple):  # a named tuple is not made of its items
        return type(value)(_moved(x, device) for x in value)
    return value
