from __future__ import annotations

import shutil
from pathlib import Path

import torch

from cmbfit.inference.model_config import Model, evidence_record
from cmbfit.inference.products import read_samples, write_samples
from cmbfit.io import provenance, read_json, write_json


def compute_evidence(
    *,
    model: Path,
    settings: Path,
    emulator: Path,
    seed: int,
    checkpoint: Path,
    output: Path,
    transfer: Path | None = None,
    samples: Path | None = None,
    device: str = "auto",
) -> None:
    """Compute the evidence of one model: nested sampling, or importance sampling around the maximum or the chain.

    Parameters
    ----------
    model
        JSON: fields of cmbfit's Model.
    settings
        JSON: comparison.evidence.
    emulator
        Manifest of the emulator's bundle.
    seed
        Of the random numbers.
    checkpoint
        Folder of nested sampling's checkpoints.
    output
        Where the record goes (JSON).
    transfer
        Manifest of the transfer expansion, which primordial models need.
    samples
        The fit's chain, for the method of that name.
    device
        auto, cpu or cuda.
    """
    method = read_json(settings)
    torch.set_num_threads(1)
    candidate = Model(**read_json(model))
    posterior = candidate.posterior(emulator.parent, transfer and transfer.parent, device)
    chain = read_samples(samples) if samples else None
    record, drawn = evidence_record(candidate, posterior, method, seed, chain=chain, checkpoint=checkpoint)
    if drawn is not None:
        write_samples(output.with_suffix(".samples.h5"), drawn)
    record["provenance"] = provenance(
        settings={"posterior": posterior.settings(), "evidence": method, "seed": seed}
    )
    write_json(output, {"model": candidate.name, "title": candidate.title, **record})
    shutil.rmtree(checkpoint, ignore_errors=True)  # the evidence is published: it has served
