from __future__ import annotations

from pathlib import Path

from cmbfit.io import read_json
from cmbfit.theory.transfer.plan import plan_from_config
from cmbfit.theory.transfer.store import read_arrays, write_arrays


def compute_transfer(
    *,
    plan: Path,
    emulator: Path,
    output: Path,
    centre: Path | None = None,
    part: tuple[int, int] | None = None,
) -> None:
    """Compute the centre of a transfer expansion, or some points of its polynomial, with CAMB.

    Parameters
    ----------
    plan
        JSON: theory.transfer.
    emulator
        Manifest of the emulator's bundle.
    output
        Where the transfer functions go (safetensors).
    centre
        Product of the centre; without it that is computed.
    part
        This part of the points and the number of parts; all points when omitted.
    """
    trained = read_json(emulator)["settings"]["trained_on"]["camb"]
    expansion = plan_from_config(read_json(plan), trained)
    if centre is None:
        arrays = expansion.compute_centre()
    else:
        (number, parts), begun, arrays = part or (0, 1), read_arrays(centre), {}
        for i in range(number, expansion.n_points, parts):
            run = expansion.compute_point(i, begun)
            arrays |= {f"{i}.{name}": x for name, x in run.items()}
            print(f"point {i} of {expansion.n_points}", flush=True)
    write_arrays(output, arrays)
