"""Publish the full-sky coefficients of one split of a channel, its T in E taken off: to be joined at one beam."""

from __future__ import annotations

import argparse

from cmbfit.io import publish_record
from cmbfit.sky import read_product
from cmbfit.sky.channels import channel_alm
from cmbfit.spectra.transforms import FieldAlms
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import write_alms
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, transform, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", required=True, help="product of prepare_split")
    parser.add_argument("--beam", required=True, help="product of prepare_beam")
    parser.add_argument("--name", required=True)
    parser.add_argument("--lmax", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    stokes = read_product(args.split, args.name)
    t, e, b = channel_alm(stokes, read_beam_table(args.beam), args.lmax)
    write_alms(args.output, FieldAlms(t, e, b, args.lmax), "no mask")
    publish_record(
        args.output, inputs=[args.split, args.beam], settings=vars(args), steps=list(stokes.history)
    )


if __name__ == "__main__":
    run_stage(main)
