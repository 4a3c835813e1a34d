"""Re-weight a fit with exact theory: effective sample size, shifts, re-weighted chains, checks."""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from cmbfit.errors import DataError
from cmbfit.inference.products import read_samples, write_getdist
from cmbfit.inference.reweight import (
    fit_linear_weights,
    log_likelihood_ratio,
    normalised_weights,
    summarise_reweighting,
)
from cmbfit.io import write_json
from cmbfit.likelihood.build import likelihoods_from_config
from cmbfit.report.checks import above, below, write_checks
from cmbfit.theory.emulator.accuracy import spectra_of
from cmbfit.theory.emulator.trainingset import read_training_set
from cmbfit.theory.extrapolation import extrapolate_spectra, extrapolate_to
from cmbfit.theory.select import theory_from_config
from pipeline.compute_exact import chosen_rows
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, weigh, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--transfer", help="folder of the transfer expansion, for primordial models")
    parser.add_argument("--exact", nargs="+", required=True, help="all parts of compute_exact, in order")
    parser.add_argument("--samples", required=True)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--marks", type=json.loads, required=True, help="JSON: the config's section")
    parser.add_argument("--seed", type=int, nargs="+", required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--getdist-root", required=True)
    parser.add_argument("--output", required=True, help="the checks")
    args = parser.parse_args()
    samples, likelihoods = read_samples(args.samples), likelihoods_from_config(args.fit)
    theory = theory_from_config(args.fit, args.emulator, args.transfer)
    emulator = extrapolate_to(theory, max(like.lmax for like in likelihoods))
    computed = read_training_set(args.exact)
    rows = chosen_rows(samples, args.marks["draws"], args.seed)
    rows = np.concatenate([rows[i :: len(args.exact)] for i in range(len(args.exact))])
    values = samples.joined[rows]
    theta = computed.theta
    if not np.array_equal(theta, values[:, [samples.names.index(p) for p in emulator.parameters]]):
        raise DataError(
            f"{args.exact[0]}: exact spectra of other points than this chain's; compute them again"
        )
    exact = extrapolate_spectra(spectra_of(computed), emulator.lmax)
    nuisance = {
        name: torch.from_numpy(values[:, i].copy())
        for i, name in enumerate(samples.names[: samples.n_sampled])
    }
    guess = emulator.spectra(torch.from_numpy(theta))
    ratios = log_likelihood_ratio(likelihoods, exact, guess, nuisance)
    record = summarise_reweighting(samples.names, values, ratios)
    total = np.sum(list(ratios.values()), axis=0)
    sampled = samples.names[: samples.n_sampled]
    line = fit_linear_weights(sampled, values[:, : samples.n_sampled], total)
    whole = [line(block[:, : samples.n_sampled]) for block in samples.values]
    joined = normalised_weights(np.concatenate(whole)) * len(samples.joined)
    weights = np.split(joined, np.cumsum([len(w) for w in whole])[:-1])
    write_getdist(args.getdist_root, samples, weights)
    record |= {
        "linear": {"residual": line.residual, "slope": dict(zip(sampled, line.slope.tolist(), strict=True))},
        "log_weights": total.tolist(),
    }
    write_json(args.record, record)
    write_checks(args.output, _checks(record, args.marks))


def _checks(record: dict, marks: dict) -> list:
    n = record["n_points"]
    worst = max(record["shifts"], key=lambda name: abs(record["shifts"][name]["mean"]))
    shift = record["shifts"][worst]
    widest = max(record["shifts"], key=lambda name: abs(record["shifts"][name]["width"] - 1))
    width = record["shifts"][widest]
    return [
        above(
            f"exact re-weighting of {n} points: effective fraction",
            record["ess_fraction"],
            marks["ess_fraction"],
            f"std of ln w {record['log_weight']['std']:.3f}",
        ),
        below(
            "exact re-weighting: largest shift of a mean, in sigma",
            shift["mean"],
            marks["shift"],
            f"{worst}; Monte Carlo error {shift['mean_error']:.3f}",
        ),
        below(
            "exact re-weighting: largest change of a width, relative",
            width["width"] - 1,
            marks["shift"],
            f"{widest}; Monte Carlo error {width['width_error']:.3f}",
        ),
    ]


if __name__ == "__main__":
    run_stage(main)
