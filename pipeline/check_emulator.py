"""Compare the emulator with exact spectra over the posterior and report its held-out error."""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from cmbfit.io import write_json
from cmbfit.likelihood.build import likelihoods_from_config
from cmbfit.report.checks import below, write_checks
from cmbfit.theory.emulator.accuracy import measure, spectra_of
from cmbfit.theory.emulator.bundle import read_arrays
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.emulator.trainingset import read_training_set
from cmbfit.theory.extrapolation import LEAST_LMAX, extrapolate_spectra
from cmbfit.theory.select import theory_from_config
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, compare, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--transfer", help="folder of the transfer expansion, for primordial models")
    parser.add_argument("--exact", nargs="+", required=True, help="products of compute_exact")
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--marks", type=json.loads, required=True, help="JSON: the config's section")
    parser.add_argument("--errors", required=True, help="output: errors by multipole")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    emulator = theory_from_config(args.fit, args.emulator, args.transfer)
    exact = read_training_set(args.exact)
    accuracy = measure(emulator, exact.theta, exact.dl, exact.derived)
    manifest, arrays = read_arrays(bundle_folder(args.emulator))
    marks, checks = args.marks, []
    for pair in ("tt", "te", "ee"):
        for where, errors, limit in (
            ("posterior", accuracy.overall[pair], marks["posterior_95"]),
            ("box", manifest["accuracy"]["overall"][pair], marks["box_95"]),
        ):
            comment = f"68% {errors[0]:.2g}, 99% {errors[2]:.2g}, max {errors[3]:.2g}; f_sky = 1, l >= 2"
            checks.append(
                below(f"emulator {pair} over the {where}: 95% of |dD_l|/sigma_CV", errors[1], limit, comment)
            )
    one = torch.ones(len(exact.theta), dtype=torch.float64)
    truth, guess = spectra_of(exact), emulator.spectra(torch.from_numpy(exact.theta))
    likelihoods = likelihoods_from_config(args.fit)
    lmax = max(like.lmax for like in likelihoods)
    if emulator.lmax >= LEAST_LMAX:
        truth, guess = extrapolate_spectra(truth, lmax), extrapolate_spectra(guess, lmax)
    for like in likelihoods:
        name = like.info.name
        nuisance = dict.fromkeys(like.info.nuisance, one)
        difference = -2 * (like.log_prob(guess, nuisance) - like.log_prob(truth, nuisance)).numpy()
        comment = (
            f"{len(one)} posterior draws: median {np.median(np.abs(difference)):.3f}, "
            f"scatter {difference.std():.3f} (a constant offset drops out of a fit)"
        )
        checks.append(
            below(
                f"emulator: 95% of |delta chi2| of {name}",
                float(np.percentile(np.abs(difference), 95)),
                marks["delta_chi2_95"],
                comment,
            )
        )
    write_checks(args.output, checks)
    write_json(
        args.errors,
        {
            "n_box": manifest["accuracy"]["n_points"],
            "n_posterior": accuracy.n_points,
            "mark": marks["posterior_95"],
            "box": {p: arrays[f"accuracy.{p}"].tolist() for p in accuracy.per_ell},
            "posterior": {p: x.tolist() for p, x in accuracy.per_ell.items()},
        },
    )


if __name__ == "__main__":
    run_stage(main)
