from __future__ import annotations

from pathlib import Path

from cmbfit.io import read_json
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.design import Design
from cmbfit.theory.emulator.trainingset import compute_chunk, write_chunk


def compute_theory(*, chunk: int, output: Path, design: Path | None = None, camb: Path | None = None) -> None:
    """Compute one chunk of a training set with CAMB.

    Parameters
    ----------
    chunk
        Number of the chunk.
    output
        Where the chunk goes (NPZ).
    design
        JSON: fields of Design.
    camb
        JSON: fields of CambSettings.
    """
    wanted = read_json(design) if design else {}
    physics = read_json(camb) if camb else {}
    runs = compute_chunk(Design(**wanted), chunk, CambSettings(**physics), log=lambda s: print(s, flush=True))
    write_chunk(output, runs)
