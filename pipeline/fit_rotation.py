"""Fit the rotation of polarisation to EB and TB of a spectrum product."""

from __future__ import annotations

import argparse

import numpy as np

from cmbfit.inference.analytic_models import rotation_table
from cmbfit.io import publish_record, write_json
from cmbfit.spectra import read_spectra
from cmbfit.theory.birefringence.bandpowers import BandpowerRotation, rotation_record
from cmbfit.theory.textfile import read_arrays
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, fit, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spectra", required=True, help="product of estimate_spectra")
    parser.add_argument("--theory", required=True, help="table of D_l (uK^2): ell tt te ee bb ...")
    parser.add_argument("--pairs", nargs="+", choices=["eb", "tb"], default=["eb", "tb"])
    parser.add_argument("--calibration-deg", type=float, required=True, help="error of the detectors' angles")
    parser.add_argument("--simulations", type=int, default=500, help="for the coverage")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--curves", required=True, help="the posterior, for the figure")
    args = parser.parse_args()
    likelihood = BandpowerRotation(read_spectra(args.spectra), read_arrays(args.theory), args.pairs)
    rng = np.random.default_rng(args.seed)
    record = rotation_record(likelihood, args.calibration_deg, args.simulations, rng)
    write_json(args.curves, record.pop("curves"))
    write_json(args.output, record | {"table": rotation_table(record)})
    publish_record(args.output, inputs=[args.spectra, args.theory], settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
