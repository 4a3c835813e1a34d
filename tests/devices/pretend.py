"""A pretended GPU on a build of torch without CUDA: real numbers behind tensors that say cuda:0.

Operations that mix it with the CPU raise as CUDA's do, and what leaves it must ask. Waits (the host reads a number, a
shape that depends on data, a copy either way) and launches are counted with the line that did them; memory can be made
to run out. It sees no kernels, no races and no speed. (torch's own FakeTensorMode refuses `.to("cuda")` on a CPU build;
`meta` stops at the first `.item()`.)
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

import cmbfit

GPU = torch.device("cuda", 0)

_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
_NO_SCALARS = ("index_select", "gather", "scatter", "mm", "addmm", "bmm", "cat", "stack")
"""Operations in which even a tensor without dimensions must be on the device."""

_FACTORIES = {
    *(torch.zeros, torch.ones, torch.empty, torch.full, torch.arange, torch.eye, torch.linspace),
    *(torch.randn, torch.rand, torch.randint, torch.randperm, torch.tensor, torch.as_tensor),
    *(torch.tril_indices, torch.triu_indices, torch.scalar_tensor),
}
_NEW: Mapping[str, Callable[..., torch.Tensor]] = {
    "new_zeros": torch.zeros,
    "new_ones": torch.ones,
    "new_full": torch.full,
    "new_empty": torch.empty,
    "new_tensor": torch.tensor,
}

_VIEWS = {
    *(
        "view",
        "_unsafe_view",
        "t",
        "transpose",
        "permute",
        "expand",
        "slice",
        "select",
        "unsqueeze",
        "squeeze",
    ),
    *(
        "detach",
        "alias",
        "as_strided",
        "unbind",
        "split",
        "split_with_sizes",
        "diagonal",
        "lift_fresh",
        "narrow",
    ),
    *("_reshape_alias", "unfold", "view_as_real", "view_as_complex", "_conj", "empty", "empty_like"),
    *("empty_strided", "new_empty", "new_empty_strided", "_local_scalar_dense", "real", "imag"),
}
"""Operations without a kernel."""

_DATA_SHAPED = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount"}
_CHECKED = {"linalg_cholesky", "_linalg_eigh", "_linalg_svd", "linalg_inv", "_linalg_solve_ex"}
"""Operations whose result's shape, or whose error code, is read back."""


_ATOMIC = {"index_add", "index_add_", "scatter_add", "scatter_add_", "scatter_reduce", "put_", "histc"}
"""Sums whose order a GPU chooses anew each time, where two numbers meet in one place."""


class Usage:
    """What was done on the device while :func:`watched`, by the line of cmbfit that did it."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.launches: Counter[str] = Counter()
        self.random: Counter[str] = Counter()


class _State:
    watch: Usage | None = None
    room: int | None = None


_PACKAGE = str(Path(cmbfit.__file__).parent)


def _here() -> str:
    frame: Any = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "outside"
    return f"{frame.f_code.co_filename.removeprefix(_PACKAGE)[1:]}:{frame.f_lineno}"


def _waited(what: str) -> None:
    if _State.watch is not None:
        _State.watch.waits[f"{_here()} {what}"] += 1


def _launched(name: str) -> None:
    if _State.watch is not None and name not in _VIEWS:
        _State.watch.launches[f"{_here()} {name}"] += 1


@contextlib.contextmanager
def watched() -> Iterator[Usage]:
    """Count waits and launches; one operation is one launch."""
    _State.watch = usage = Usage()
    try:
        yield usage
    finally:
        _State.watch = None


@contextlib.contextmanager
def memory(room: int) -> Iterator[None]:
    """A device on which nothing larger than `room` bytes can be made."""
    _State.room = room
    try:
        yield
    finally:
        _State.room = None


def _made(out: torch.Tensor) -> None:
    if _State.room is not None and out.numel() * out.element_size() > _State.room:
        message = f"CUDA out of memory. Tried to allocate {out.numel() * out.element_size()} bytes"
        raise torch.OutOfMemoryError(message)


class GpuTensor(torch.Tensor):
    """Says that it is on cuda:0; `inner` holds the numbers."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Self:
        out = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device("cpu"),
        )
        out.inner = inner.detach()
        return out

    device = property(lambda _: GPU)
    is_cuda = property(lambda _: True)
    is_cpu = property(lambda _: False)

    def __repr__(self, **_: Any) -> str:
        return f"GpuTensor({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        flat, _ = tree_flatten((args, kwargs or {}))
        _refuse_mixing(func, args, flat)
        _note(_name(func), args)
        mine = [x for x in flat if isinstance(x, GpuTensor)]

        def wrap(x: Any) -> Any:
            if not isinstance(x, torch.Tensor) or _name(func) == "_local_scalar_dense":
                return x
            if (same := next((m for m in mine if m.inner is x), None)) is not None:
                return same  # in place
            if _name(func) not in _VIEWS:
                _made(x)
            return GpuTensor(x)

        return tree_map(wrap, func(*tree_map(_inner, args), **tree_map(_inner, kwargs or {})))


def _note(name: str, args: Any) -> None:
    """Count what an operation of the device costs the host."""
    _launched(name)
    if _State.watch is not None and name in _ATOMIC and _meet(args[2] if name != "put_" else args[1]):
        _State.watch.random[f"{_here()} {name}"] += 1
    if name == "_local_scalar_dense":
        _waited("a number is read")
    masked = name in _INDEXING and any(
        isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in args[1] or ()
    )
    if masked or name in _DATA_SHAPED:
        _waited(f"the shape of {name} depends on data")
    if name in _CHECKED:
        _waited(f"{name} reads its error code")
    if name == "copy_" and any(
        isinstance(x, torch.Tensor) and not isinstance(x, GpuTensor) for x in args[:2]
    ):
        _waited("copy_")


def _meet(index: torch.Tensor) -> bool:
    return index.ndim > 1 or len(_inner(index).unique()) < len(index)


def _inner(x: Any) -> Any:
    return x.inner if isinstance(x, GpuTensor) else x


def _name(func: Any) -> str:
    return func._schema.name.split("::")[1]


def _refuse_mixing(func: Any, args: Any, flat: list[Any]) -> None:
    name = _name(func)
    for x in flat:
        if not isinstance(x, torch.Tensor) or isinstance(x, GpuTensor):
            continue
        if name in _INDEXING and x is args[0]:
            message = "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
            raise RuntimeError(message)
        index = name in _INDEXING and any(x is y for y in args[1])  # CUDA takes indices from the CPU
        if index:
            _waited("an index comes from the CPU")
        if index or name == "copy_" or (x.ndim == 0 and name not in _NO_SCALARS):
            continue
        message = (
            f"Expected all tensors to be on the same device, but found at least two, cuda:0 and cpu! [{name}]"
        )
        raise RuntimeError(message)


def up(x: torch.Tensor) -> torch.Tensor:
    if isinstance(x, GpuTensor):
        return x
    _waited("a copy to the device")
    return _Up.apply(x) if x.requires_grad else GpuTensor(x)


def down(x: torch.Tensor) -> torch.Tensor:
    if not isinstance(x, GpuTensor):
        return x
    _waited("a copy to the host")
    return _Down.apply(x) if x.requires_grad else x.inner.clone()


class _Up(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return GpuTensor(x.clone())

    @staticmethod
    def backward(_: Any, *grads: torch.Tensor) -> torch.Tensor:
        return down(grads[0])


class _Down(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return x.inner.clone()

    @staticmethod
    def backward(_: Any, *grads: torch.Tensor) -> torch.Tensor:
        return up(grads[0])


def _on_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class _Calls(TorchFunctionMode):
    """What a device argument decides: where new tensors are made, and moves."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name, first = getattr(func, "__name__", ""), args[0] if args else None
        if func in _FACTORIES:
            return self._make(func, args, kwargs)
        if isinstance(first, GpuTensor):
            if name in _NEW:
                more = args[1:] if isinstance(args[1], tuple | list | float) else (tuple(args[1:]),)
                return self._make(_NEW[name], more, {"dtype": first.dtype, "device": GPU} | kwargs)
            if name in ("numpy", "__array__"):
                message = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first."
                raise TypeError(message)
            if name == "tolist":
                _waited("tolist")
                return first.inner.tolist()
            if name.endswith("_like"):
                kwargs.pop("device", None)
        if name in ("to", "cuda", "cpu") and isinstance(first, torch.Tensor):
            return _move(name, first, args[1:], kwargs)
        if func is torch.autograd.grad:
            with _Calls():  # the backward passes that are written in Python
                return _grad(*args, **kwargs)
        return func(*args, **kwargs)

    @staticmethod
    def _make(func: Any, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
        on_gpu = _on_gpu(kwargs.get("device"))
        kwargs = {k: x for k, x in kwargs.items() if k != "device"} if on_gpu else kwargs
        out = func(*args, **kwargs)
        if not on_gpu or isinstance(out, GpuTensor):
            return out
        if func in (torch.tensor, torch.as_tensor):
            _waited("a copy to the device")
        _launched(func.__name__)
        _made(out)
        return GpuTensor(out.detach()).requires_grad_(out.requires_grad)


def _move(name: str, x: torch.Tensor, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
    target, dtype = {"cuda": GPU, "cpu": "cpu"}.get(name, kwargs.get("device")), kwargs.get("dtype")
    for a in args:
        if isinstance(a, str | torch.device):
            target = a
        elif isinstance(a, torch.dtype):
            dtype = a
        elif isinstance(a, torch.Tensor):
            target, dtype = a.device, a.dtype
    if target is not None:
        x = up(x) if _on_gpu(target) else down(x)
    return x if dtype is None or x.dtype == dtype else x.type(dtype)


def _grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: Any = None,
    create_graph: bool = False,
    **_: Any,
) -> tuple[torch.Tensor, ...]:
    """torch.autograd.grad without its own look at function modes, so that Python's backward passes run under ours."""
    from torch.autograd import _make_grads, _tensor_or_tensors_to_tuple

    outs = (outputs,) if isinstance(outputs, torch.Tensor) else tuple(outputs)
    ins = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    grads = _make_grads(outs, _tensor_or_tensors_to_tuple(grad_outputs, len(outs)), is_grads_batched=False)
    on_gpu = any(isinstance(x, GpuTensor) for x in (*outs, *ins))  # noqa: F841  read by _called_by_the_engine
    keep = create_graph if retain_graph is None else retain_graph
    engine = torch.autograd.Variable._execution_engine
    return engine.run_backward(outs, grads, keep, create_graph, ins, False, accumulate_grad=False)


class _Zeros(TorchDispatchMode):
    """Autograd's own zeros, made in C++ like the forward's tensors: on the device in a backward pass there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = _name(func) in ("zeros", "ones", "full", "empty", "new_zeros", "empty_strided")
        flat, _ = tree_flatten((args, kwargs or {}))
        if made and not any(isinstance(x, GpuTensor) for x in flat) and _called_by_the_engine():
            _launched("zeros of autograd")
            return GpuTensor(out)
        return out


def _called_by_the_engine() -> bool:
    frame = sys._getframe(2)
    while frame is not None and (
        frame.f_code.co_name == "__torch_dispatch__"
        or frame.f_code.co_filename.endswith(("_compile.py", "eval_frame.py"))
    ):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "_grad" and frame.f_locals.get("on_gpu", False)


@contextlib.contextmanager
def machine(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch on a machine with a GPU."""
    real = torch.Generator

    class Generator(real):  # type: ignore[misc, valid-type]
        def __new__(cls, device: Any = "cpu") -> Any:  # noqa: ARG004
            return real.__new__(cls, "cpu")

        def __init__(self, device: Any = "cpu") -> None: ...

    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "mem_get_info", lambda _: (2**36, 2**37))
    patch.setattr(torch.cuda, "empty_cache", lambda: None)
    patch.setattr(torch, "Generator", Generator)
    with _Calls(), _Zeros():
        yield


def tensors(
    thing: Any, path: str = "", seen: dict[int, Any] | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield all tensors that can be reached from an object of cmbfit's, with their paths."""
    seen = {} if seen is None else seen
    if id(thing) in seen:
        return
    seen[id(thing)] = thing
    if isinstance(thing, torch.Tensor):
        yield path, thing
    elif isinstance(thing, Mapping):
        for key, x in thing.items():
            yield from tensors(x, f"{path}[{key!r}]", seen)
    elif isinstance(thing, list | tuple):
        for i, x in enumerate(thing):
            yield from tensors(x, f"{path}[{i}]", seen)
    elif hasattr(thing, "__dict__") and type(thing).__module__.startswith("cmbfit"):
        for key, x in vars(thing).items():
            yield from tensors(x, f"{path}.{key}", seen)
