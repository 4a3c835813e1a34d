"""`gpu`: a pretended GPU for the length of a test; `moves`: a thing moves wholly and computes the same there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from cmbfit.theory.base import Checked
from cmbfit.theory.spectra import Spectra
from tests.devices import pretend


@pytest.fixture(autouse=True)
def torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU too, where a few points would be computed in numpy: bits are held against bits."""
    monkeypatch.setattr("cmbfit.likelihood.few_points.MOST", 0)


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
    """A check of one object: it moves whole, the original has not moved, the numbers are the same, nothing waits."""

    def check(
        thing: Any,
        call: Callable[[Any, torch.Tensor], Any],
        x: torch.Tensor,
        *,
        gradient: bool = True,
        binds: str = "",
    ) -> None:
        """`binds` names an operation that waits whatever is done."""
        want, leaf = total(call(thing, x)), x.clone().requires_grad_(True)
        slope = torch.autograd.grad(total(call(thing, leaf)), leaf)[0] if gradient else None
        with pretend.machine(monkeypatch):
            moved = thing.to("cuda")
            stayed = [p for p, t in pretend.tensors(moved) if not isinstance(t, pretend.GpuTensor)]
            assert not stayed, f"stayed on the CPU: {stayed}"
            gone = [p for p, t in pretend.tensors(thing) if isinstance(t, pretend.GpuTensor)]
            assert not gone, f"the original moved: {gone}"
            point = x.to("cuda")
            with torch.no_grad():
                got = total(call(moved, point))
            # the same operations of the same library: bit for bit
            assert torch.equal(got.cpu(), want)
            # whoever asks for spectra in a loop has looked at the points: a posterior does
            with Checked(getattr(moved, "box", {})), pretend.watched() as usage:
                with torch.no_grad():
                    call(moved, point)
                if slope is not None:
                    leaf = point.clone().requires_grad_(True)
                    (back,) = torch.autograd.grad(total(call(moved, leaf)), leaf)
            waits = {
                line: n
                for line, n in usage.waits.items()
                if not line.startswith("outside") and not (binds and binds in line)
            }
            assert not waits, f"the host waits: {waits}"
            assert not usage.random, f"another result each time: {dict(usage.random)}"
            if slope is not None:
                # sums over terms run in a fixed order of their own there: rounding
                torch.testing.assert_close(
                    back.cpu(), slope, rtol=1e-12, atol=1e-13 * float(slope.abs().max())
                )

    return check
