from __future__ import annotations

from pathlib import Path

from cmbfit.checkpoint import discard, require_made_of
from cmbfit.io import read_json, sha256_file
from cmbfit.theory.transfer import TENSORS
from cmbfit.theory.transfer.plan import Run, plan_from_config
from cmbfit.theory.transfer.store import read_arrays, read_made_of, write_transfer


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
    """Join the runs of a transfer expansion and publish it; refuses runs of another plan or centre.

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
    require_made_of(centre, read_made_of(centre), {**expansion.record(), "centre_sha256": None})
    of_centre = {**expansion.record(), "centre_sha256": sha256_file(centre)}
    points: dict[int, Run] = {}
    for path in parts:
        require_made_of(path, read_made_of(path), of_centre)
        for key, x in read_arrays(path).items():
            index, _, name = key.partition(".")
            points.setdefault(int(index), {})[name] = x
    if tensors:
        write_transfer(output.parent / TENSORS, expansion.compute_tensors())
    write_transfer(output.parent, expansion.assemble(read_arrays(centre), points))
    discard(*checkpoints)
