"""Check a spectrum product against a theory and for nulls; the outcome is a file, the exit code is 0."""

from __future__ import annotations

import argparse

from cmbfit.io import write_json
from cmbfit.spectra import check_bandpowers, read_spectra
from cmbfit.spectra.checks import SIGNAL
from cmbfit.theory.textfile import read_arrays
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, check, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spectra", required=True, help="product of estimate_spectra")
    parser.add_argument("--theory", required=True, help="table of D_l (uK^2): ell tt te ee bb ...")
    parser.add_argument("--signal", nargs="+", default=list(SIGNAL), help="spectra compared with the theory")
    parser.add_argument("--remark", default="", help="what a reader should know of the maps")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    checks = check_bandpowers(
        read_spectra(args.spectra), read_arrays(args.theory), signal=args.signal, remark=args.remark
    )
    write_json(args.output, {"checks": checks})


if __name__ == "__main__":
    run_stage(main)
