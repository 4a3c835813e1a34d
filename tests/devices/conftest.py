"""`gpu`: a pretended GPU for the length of a test; `moves`: a thing moves wholly and computes the same there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from cmbfit.theory.spectra import Spectra
from tests.devices import pretend


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with pretend.machine(monkeypatch):
        yield


def total(out: Any) -> torch.Tensor:
    """Sum all finite numbers of a result."""
    parts = (
        [out]
        if isinstance(out, torch.Tensor)
        else list((out.dl if isinstance(out, Spectra) else out).values())
    )
    return torch.stack([torch.where(torch.isfinite(x), x, 0.0).sum() for x in parts]).sum()


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A check of one object: everything moves, nothing stays, the original has not moved, the numbers are the same."""

    def check(
        thing: Any, call: Callable[[Any, torch.Tensor], Any], x: torch.Tensor, *, gradient: bool = True
    ) -> None:
        want, leaf = total(call(thing, x)), x.clone().requires_grad_(True)
        slope = torch.autograd.grad(total(call(thing, leaf)), leaf)[0] if gradient else None
        with pretend.machine(monkeypatch):
            moved = thing.to("cuda")
            stayed = [p for p, t in pretend.tensors(moved) if not isinstance(t, pretend.GpuTensor)]
            assert not stayed, f"stayed on the CPU: {stayed}"
            gone = [p for p, t in pretend.tensors(thing) if isinstance(t, pretend.GpuTensor)]
            assert not gone, f"the original moved: {gone}"
            with torch.no_grad():
                got = total(call(moved, x.to("cuda")))
            # the same operations of the same library: bit for bit
            assert torch.equal(got.cpu(), want)
            if slope is not None:
                leaf = x.to("cuda").clone().requires_grad_(True)
                (back,) = torch.autograd.grad(total(call(moved, leaf)), leaf)
                assert torch.equal(back.cpu(), slope)

    return check
