"""What lives on a device, and how it gets to another one: one mechanism for everything that holds tensors."""

from __future__ import annotations

import copy
from typing import Any, Self, TypeVar

import torch

T = TypeVar("T")


class OnDevice:
    """Base of objects that hold tensors, themselves or in their parts."""

    def to(self, device: torch.device | str) -> Self:
        """Return a copy whose tensors live on `device`; the original stays where it is."""
        return moved(self, device)


def moved(thing: T, device: torch.device | str, memo: dict[int, Any] | None = None) -> T:
    """Return a shallow copy of a thing with everything in it on a device.

    Tensors move wherever they are: in attributes of :class:`OnDevice` objects, in dicts, lists and tuples, in
    parts of parts. What is shared within a thing is shared within its copy; whatever holds no tensors is shared
    with the original. A part of another class moves if it has a `to` of its own.
    """
    memo = {} if memo is None else memo
    if id(thing) in memo:
        return memo[id(thing)]
    out: Any = thing
    if isinstance(thing, OnDevice):
        out = memo[id(thing)] = copy.copy(thing)
        vars(out).update({name: moved(x, device, memo) for name, x in vars(thing).items()})
    elif isinstance(thing, dict):
        out = {key: moved(x, device, memo) for key, x in thing.items()}
    elif isinstance(thing, list | tuple):
        parts = [moved(x, device, memo) for x in thing]
        out = (
            type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
        )  # a named tuple, or not
    elif isinstance(thing, torch.device):
        out = torch.device(device)
    elif hasattr(type(thing), "to"):
        out = thing.to(device)  # type: ignore[attr-defined]
    memo[id(thing)] = out
    return out
