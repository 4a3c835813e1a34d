"""Compute the evidence of one model: nested sampling, or importance sampling around the maximum or the chain."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch

from cmbfit.inference.model_config import Model, evidence_record
from cmbfit.inference.products import read_samples, write_samples
from cmbfit.io import provenance, write_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, compute, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=json.loads, required=True, help="JSON: fields of cmbfit's Model")
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON: comparison.evidence")
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--transfer", help="folder of the transfer expansion, for primordial models")
    parser.add_argument("--samples", help="the fit's chain, for the method of that name")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--checkpoint", required=True, help="folder of nested sampling's checkpoints")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = Model(**args.model)
    posterior = model.posterior(args.emulator, args.transfer, args.device)
    chain = read_samples(args.samples) if args.samples else None
    record, samples = evidence_record(
        model, posterior, args.settings, args.seed, chain=chain, checkpoint=args.checkpoint
    )
    if samples is not None:
        write_samples(Path(args.output).with_suffix(".samples.h5"), samples)
    settings = {"posterior": posterior.settings(), "evidence": args.settings, "seed": args.seed}
    write_json(
        args.output,
        {"model": model.name, "title": model.title, **record, "provenance": provenance(settings=settings)},
    )
    shutil.rmtree(args.checkpoint, ignore_errors=True)  # the evidence is published: it has served


if __name__ == "__main__":
    run_stage(main)
