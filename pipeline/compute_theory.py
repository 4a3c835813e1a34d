from __future__ import annotations

from pathlib import Path

from cmbfit.checkpoint import own_checkpoint
from cmbfit.io import read_json
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.design import Design
from cmbfit.theory.emulator.trainingset import chunk_settings, compute_chunk, write_chunk


def compute_theory(
    *,
    chunk: int,
    output: Path,
    code: str,
    checkpoint: Path,
    design: Path | None = None,
    camb: Path | None = None,
) -> None:
    """Compute one chunk of a training set with CAMB; resumes from its checkpoint.

    Parameters
    ----------
    chunk
        Number of the chunk.
    output
        Where the chunk goes (NPZ).
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints; the stage that learns from the chunk removes it.
    design
        JSON: fields of Design.
    camb
        JSON: fields of CambSettings.
    """
    wanted = read_json(design) if design else {}
    physics = read_json(camb) if camb else {}
    points, settings = Design(**wanted), CambSettings(**physics)
    identity = {**chunk_settings(points, settings), "chunk": chunk, "code": code}
    store = own_checkpoint(checkpoint, identity)
    runs = compute_chunk(points, chunk, settings, log=lambda s: print(s, flush=True), store=store)
    write_chunk(output, runs)
