from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.inference.model_config import Model, model_evidence
from cmbfit.inference.products import read_samples, write_samples
from cmbfit.io import provenance, read_json, write_json


def compute_evidence(
    *,
    model: Path,
    settings: Path,
    seed: int,
    code: str,
    checkpoint: Path,
    output: Path,
    samples: Path | None = None,
    device: str = "auto",
) -> None:
    """Compute the evidence of one model: nested sampling, tempering, or importance sampling around the maximum or the chain.

    Parameters
    ----------
    model
        JSON: the model (Model.describe).
    settings
        JSON: comparison.evidence.
    seed
        Of the random numbers.
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the method's checkpoints; compare_fits removes it.
    output
        Where the record goes (JSON).
    samples
        The fit's chain, for the method of that name.
    device
        auto, cpu or cuda.
    """
    method = read_json(settings)
    torch.set_num_threads(1)
    candidate = Model.from_json(read_json(model))
    posterior = candidate.posterior(device)
    chain = read_samples(samples) if samples else None
    found = model_evidence(
        candidate, posterior, method, seed, samples=chain, checkpoint=checkpoint, code=code
    )
    if found.samples is not None:
        write_samples(output.with_suffix(".samples.h5"), found.samples)
    record = found.record()
    record["provenance"] = provenance(
        settings={"posterior": posterior.settings(), "evidence": method, "seed": seed}
    )
    write_json(output, {"model": candidate.name, "title": candidate.title, **record})
