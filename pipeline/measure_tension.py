from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.inference.data_tension import measure_tension as measure
from cmbfit.inference.tension_request import TensionRequest
from cmbfit.io import provenance, read_json, write_json


def measure_tension(*, pairs: Path, seed: int, output: Path) -> None:
    """Measure whether pairs of data sets agree on a model's parameters.

    Parameters
    ----------
    pairs
        JSON: requests by name (TensionRequest.describe).
    seed
        Of the random numbers.
    output
        Where the record goes (JSON).
    """
    wanted = read_json(pairs)
    torch.set_num_threads(1)
    measured = {name: measure(TensionRequest.from_json(spec), seed) for name, spec in wanted.items()}
    write_json(output, {"pairs": measured, "provenance": provenance(settings=wanted, seed=seed)})
