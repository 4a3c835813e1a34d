from __future__ import annotations

from pathlib import Path

from cmbfit.checkpoint import discard
from cmbfit.io import read_json
from cmbfit.theory.transfer import TENSORS
from cmbfit.theory.transfer.plan import Run, plan_from_config
from cmbfit.theory.transfer.store import read_arrays, write_transfer


def join_transfer(
    *,
    plan: Path,
    emulator: Path,
    centre: Path,
    parts: list[Path],
    output: Path,
    checkpoints: list[Path],
    tensors: bool = False,
) -> None:
    """Join the runs of a transfer expansion and publish it.

    Parameters
    ----------
    plan
        JSON: theory.transfer.
    emulator
        Manifest of the emulator's bundle.
    centre
        The expansion's centre (compute_transfer).
    parts
        All parts, in order.
    output
        Where the manifest goes; the arrays beside it.
    checkpoints
        Folders of the runs' checkpoints, which have served when the expansion is there.
    tensors
        Also compute the tensors of the centre.
    """
    expansion = plan_from_config(read_json(plan), read_json(emulator)["settings"]["trained_on"]["camb"])
    points: dict[int, Run] = {}
    for path in parts:
        for key, x in read_arrays(path).items():
            index, _, name = key.partition(".")
            points.setdefault(int(index), {})[name] = x
    if tensors:
        write_transfer(output.parent / TENSORS, expansion.compute_tensors())
    write_transfer(output.parent, expansion.assemble(read_arrays(centre), points))
    discard(*checkpoints)
