"""Posterior predictive checks of one fit: whether the model would have given such data."""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from cmbfit.figures.predictive import plot_predictive, predictive_table, summary_text
from cmbfit.figures.style import save_figure
from cmbfit.inference.predictive import predictive_tests, replicate
from cmbfit.inference.products import read_samples
from cmbfit.io import provenance, write_json
from cmbfit.likelihood.build import posterior_from_config
from cmbfit.theory.select import theory_from_config
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, replicate, test, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--transfer", help="folder of the transfer expansion, for primordial models")
    parser.add_argument("--samples", required=True)
    parser.add_argument("--draws", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--figure", required=True, help="stem: .png, .pdf and .csv are added")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    posterior = posterior_from_config(args.fit, theory_from_config(args.fit, args.emulator, args.transfer))
    samples, rng = read_samples(args.samples), np.random.default_rng(args.seed)
    points = samples.joined[:, : samples.n_sampled]
    replicas = replicate(posterior, points[rng.integers(len(points), size=args.draws)], rng)
    tests = [test for replica in replicas for test in predictive_tests(replica)]
    records = [test.record() for test in tests]
    print(summary_text(records))
    save_figure(plot_predictive(replicas, tests), args.figure, predictive_table(replicas))
    write_json(
        args.output,
        {
            "fit": args.name,
            "title": args.fit["title"],
            "tests": records,
            "left_out": [
                like.info.name
                for like in posterior.likelihoods
                if like.info.name not in {r["data_set"] for r in records}
            ],
            "provenance": provenance(inputs=[args.samples], draws=args.draws, seed=args.seed),
        },
    )


if __name__ == "__main__":
    run_stage(main)
