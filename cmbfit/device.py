"""What lives on a device, and how it gets to another one: one mechanism for everything that holds tensors."""

from __future__ import annotations

import copy
import logging
from types import ModuleType
from typing import Any, Self, TypeVar

import numpy as np
import torch

from cmbfit.errors import DeviceError, ParameterError

log = logging.getLogger(__name__)

T = TypeVar("T")


class OnDevice:
    """Base of objects that hold tensors, themselves or in their parts."""

    def to(self, device: torch.device | str) -> Self:
        """Return a copy whose tensors live on `device`; the original stays where it is."""
        return moved(self, usable(device))


def usable(device: torch.device | str) -> torch.device:
    """Return a device on which a number of float64 could be made.

    Raises
    ------
    DeviceError
        If it is not there or knows no float64; the message says why.
    """
    try:
        device = torch.device(device)
        torch.zeros((), dtype=torch.float64, device=device)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise DeviceError(
            f"device {device}: expected one that is there and computes in float64, found none ({reason}); "
            "take device cpu, or auto"
        ) from error
    return device


def free_memory(device: torch.device) -> int | None:
    """Return how many bytes a GPU has left, for this job and those beside it; None where nothing tells."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def take(x: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    """Return `x.index_select(dim, index)`, dim 0 or 1, of which the gradient is summed in a fixed order on any device.

    Where an index comes twice, a GPU sums the gradient of `index_select` in another order each time; that of
    indexing it sorts.
    """
    if x.device.type == "cpu":
        return x.index_select(dim, index)
    return x[index] if dim == 0 else x[:, index]


def moved(thing: T, device: torch.device | str, memo: dict[int, Any] | None = None) -> T:
    """Return a shallow copy of a thing with everything in it on a device.

    Tensors move wherever they are: in attributes of :class:`OnDevice` objects, in dicts, lists and tuples, in
    parts of parts. What is shared within a thing is shared within its copy; whatever holds no tensors is shared
    with the original. A part of another class moves if it has a `to` of its own.

    Raises
    ------
    DeviceError
        If a part of another class holds tensors and has none: it would stay behind.
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
    elif isinstance(thing, torch.nn.Module):
        out = copy.deepcopy(thing).to(device)  # its own `to` moves the original
    elif hasattr(type(thing), "to"):
        out = thing.to(device)  # type: ignore[attr-defined]
    elif left_behind(thing, torch.device(device)):
        raise DeviceError(
            f"{type(thing).__name__} holds tensors and has no to(device), so that they would stay where they are; derive "
            "it from cmbfit.device.OnDevice"
        )
    memo[id(thing)] = out
    return out


def left_behind(thing: Any, device: torch.device, seen: set[int] | None = None) -> bool:
    """Return whether an object's attributes, or theirs, hold tensors on another device."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type | np.ndarray | ModuleType):
        return False
    seen.add(id(thing))
    if isinstance(thing, torch.Tensor):  # a number without dimensions is taken wherever it is
        return thing.ndim > 0 and thing.device.type != device.type
    if isinstance(thing, dict):
        return any(left_behind(x, device, seen) for x in thing.values())
    if isinstance(thing, list | tuple):
        return any(left_behind(x, device, seen) for x in thing)
    return any(left_behind(x, device, seen) for x in getattr(thing, "__dict__", {}).values())


def pick_device(name: str) -> torch.device:
    """Return the torch device for `auto`, `cpu` or `cuda`.

    `auto` takes CUDA when there is one that works. `cuda` without a GPU falls back to the CPU with a warning, so
    that a configuration made for a cluster still runs on a laptop.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ParameterError(f"device: expected auto, cpu or cuda, found {name!r}")
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        try:
            return usable("cuda")
        except DeviceError as error:
            log.warning("%s: computing on the CPU", error)
            return torch.device("cpu")
    if name == "cuda":
        log.warning("CUDA was asked for, but torch finds no GPU: computing on the CPU")
    return torch.device("cpu")
