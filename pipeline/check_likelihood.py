"""Check the data sets against published chi2 at a fixed model, computed with CAMB."""

from __future__ import annotations

import argparse
import json

import torch

from cmbfit.likelihood import load_likelihood
from cmbfit.report.checks import below, write_checks
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import CambSettings, CambTheory
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, compute, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=json.loads, required=True, help="JSON: the config's section")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    theory = CambTheory(CambSettings(**args.reference["camb"]))
    spectra = theory.spectra(point_from_values(theory, args.reference["parameters"]))
    nuisance = {
        name: torch.tensor([value], dtype=torch.float64) for name, value in args.reference["nuisance"].items()
    }
    checks = []
    for name, expected in args.reference["chi2"].items():
        chi2 = -2 * load_likelihood(name).log_prob(spectra, nuisance).item()
        print(f"{name}: chi2 {chi2:.3f}, published {expected}")
        checks.append(
            below(
                f"{name}: chi2 - published, at a fixed model",
                chi2 - expected,
                args.reference["tolerance"],
                f"chi2 {chi2:.3f}; {args.reference['source']}",
            )
        )
    write_checks(args.output, checks)


if __name__ == "__main__":
    run_stage(main)
