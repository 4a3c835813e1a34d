"""Publish a Gaussian beam without pixel window as a text table: that of joined channels."""

from __future__ import annotations

import argparse

from cmbfit.io import atomic_path, publish_record
from cmbfit.sky import Beam
from cmbfit.survey.fields import write_beam_table
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fwhm-arcmin", type=float, required=True)
    parser.add_argument("--lmax", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    with atomic_path(args.output) as tmp:
        write_beam_table(tmp, Beam.gaussian(args.lmax, args.fwhm_arcmin))
    publish_record(args.output, settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
