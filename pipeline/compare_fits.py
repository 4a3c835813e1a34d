"""Compare the models of a run that were fitted to the same data: one table for each set of data."""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from cmbfit.inference.model_config import Model, candidate, posteriors_of
from cmbfit.inference.model_table import compare
from cmbfit.inference.products import read_samples
from cmbfit.io import provenance, read_json, write_json
from cmbfit.theory.select import primordial_of
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, compare, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=json.loads, required=True, help="JSON: lists of fields of Model")
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--transfer", help="folder of the transfer expansion, for primordial models")
    parser.add_argument(
        "--fits", nargs="+", required=True, help="names of the fits, in the order of --samples"
    )
    parser.add_argument("--samples", nargs="+", required=True)
    parser.add_argument("--summaries", nargs="+", required=True)
    parser.add_argument("--evidence", nargs="*", default=[], help="products of compute_evidence")
    parser.add_argument("--look-elsewhere", help="product of search_features")
    parser.add_argument("--closed", nargs="*", default=[], help="products with a table of their own")
    parser.add_argument("--starts", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = dict(zip(args.fits, zip(args.samples, args.summaries, strict=True), strict=True))
    evidence = {record["model"]: record for record in map(read_json, args.evidence)}
    searched = read_json(args.look_elsewhere)["models"] if args.look_elsewhere else {}
    tables = []
    for i, group in enumerate(args.groups):
        candidates = []
        models = [Model(**spec) for spec in group]
        posteriors = posteriors_of(models, args.emulator, args.transfer)
        for model in models:
            path, summary = files[model.fit_name]
            found = searched.get(primordial_of(model.fit))
            candidates.append(
                candidate(
                    model,
                    posteriors[model.name],
                    samples=read_samples(path),
                    n_effective=read_json(summary)["convergence"]["effective_samples_min"],
                    evidence=evidence.get(model.name),
                    look_elsewhere=found and found["global"],
                )
            )
        tables.append(compare(candidates, np.random.default_rng([args.seed, i]), starts=args.starts))
    tables += [read_json(path)["table"] for path in args.closed]
    inputs = [*args.samples, *args.summaries, *args.evidence, *args.closed]
    write_json(args.output, {"tables": tables, "provenance": provenance(inputs=inputs)})


if __name__ == "__main__":
    run_stage(main)
