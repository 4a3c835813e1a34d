"""Publish the E and B coefficients of one split at low multipoles, beam divided out: for template cleaning."""

from __future__ import annotations

import argparse

import numpy as np

from cmbfit.io import publish_record
from cmbfit.sky import read_product
from cmbfit.sky.cleaning import sky_alm, taper
from cmbfit.spectra.transforms import FieldAlms
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import write_alms
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, transform, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", required=True, help="product of prepare_split")
    parser.add_argument("--beam", required=True, help="product of prepare_beam")
    parser.add_argument(
        "--window", type=int, nargs=2, required=True, help="multipoles: full up to, none from"
    )
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    window = taper(*args.window)
    e, b = sky_alm(read_product(args.split, "sky"), read_beam_table(args.beam), window)
    write_alms(args.output, FieldAlms(np.zeros_like(e), e, b, args.window[1]), "no mask")
    publish_record(args.output, inputs=[args.split, args.beam], settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
