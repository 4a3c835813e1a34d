from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.inference.subset_request import SubsetRequest
from cmbfit.inference.subsets import measure_subsets as measure
from cmbfit.io import provenance, read_json, write_json


def measure_subsets(*, request: Path, seed: int, output: Path) -> None:
    """Fit parts of a fit's data and hold them against the whole.

    Parameters
    ----------
    request
        JSON: a request (SubsetRequest.describe).
    seed
        Of the random numbers.
    output
        Where the record goes (JSON).
    """
    wanted = read_json(request)
    torch.set_num_threads(1)
    record = measure(SubsetRequest.from_json(wanted), seed)
    write_json(output, {**record, "provenance": provenance(settings=wanted, seed=seed)})
