from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.inference.data_tension import TensionRequest
from cmbfit.inference.data_tension import measure_tension as measure
from cmbfit.io import provenance, read_json, write_json
from cmbfit.theory.emulator.bundle import load_emulator


def measure_tension(*, pairs: Path, emulator: Path, seed: int, output: Path) -> None:
    """Measure whether pairs of data sets agree on a model's parameters.

    Parameters
    ----------
    pairs
        JSON: name to fields of TensionRequest.
    emulator
        Manifest of the emulator's bundle.
    seed
        Of the random numbers.
    output
        Where the record goes (JSON).
    """
    wanted = read_json(pairs)
    torch.set_num_threads(1)
    theory = load_emulator(emulator.parent)
    measured = {name: measure(TensionRequest(**spec), theory, seed) for name, spec in wanted.items()}
    write_json(output, {"pairs": measured, "provenance": provenance(settings=wanted, seed=seed)})
