from __future__ import annotations

from functools import partial
from pathlib import Path

from cmbfit.checkpoint import kept, own_checkpoint
from cmbfit.io import read_json, sha256_file
from cmbfit.theory.transfer.plan import plan_from_config
from cmbfit.theory.transfer.store import read_arrays, write_arrays


def compute_transfer(
    *,
    plan: Path,
    emulator: Path,
    output: Path,
    code: str,
    checkpoint: Path,
    centre: Path | None = None,
    part: tuple[int, int] | None = None,
) -> None:
    """Compute the centre of a transfer expansion, or some points of its polynomial, with CAMB; resumes from its checkpoint.

    Parameters
    ----------
    plan
        JSON: theory.transfer.
    emulator
        Manifest of the emulator's bundle.
    output
        Where the transfer functions go (safetensors).
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints; join_transfer removes it.
    centre
        Product of the centre; without it that is computed.
    part
        This part of the points and the number of parts; all points when omitted.
    """
    trained = read_json(emulator)["settings"]["trained_on"]["camb"]
    expansion = plan_from_config(read_json(plan), trained)
    made_of = {**expansion.record(), "centre_sha256": centre and sha256_file(centre)}
    store = own_checkpoint(checkpoint, {**made_of, "code": code})
    if centre is None:
        arrays = kept(store, "centre", expansion.compute_centre)
    else:
        (number, parts), begun, arrays = part or (0, 1), read_arrays(centre), {}
        for i in range(number, expansion.n_points, parts):
            run = kept(store, f"point_{i}", partial(expansion.compute_point, i, begun))
            arrays |= {f"{i}.{name}": x for name, x in run.items()}
            print(f"point {i} of {expansion.n_points}", flush=True)
    write_arrays(output, arrays, made_of)
