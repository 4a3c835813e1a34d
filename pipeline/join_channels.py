"""Bring one split of several channels to one beam, join them, and publish map and weight."""

from __future__ import annotations

import argparse
import json

import numpy as np

from cmbfit.io import publish_record
from cmbfit.sky import Beam, read_product
from cmbfit.sky.channels import join_channels, joined_weight, noise_weights
from cmbfit.sky.fits import read_column, write_split
from cmbfit.survey.fields import read_transfer
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, join, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", nargs="+", required=True, help="products of prepare_split, one a channel")
    parser.add_argument("--beams", nargs="+", required=True, help="products of prepare_beam")
    parser.add_argument("--channels", nargs="+", required=True, help="their names")
    parser.add_argument("--name", required=True)
    parser.add_argument("--fwhm-arcmin", type=float, required=True, help="Gaussian beam of the result")
    parser.add_argument("--ranges", type=json.loads, default={}, help="JSON: highest multipole of a channel")
    parser.add_argument("--difference", action="store_true", help="half the first minus half the second")
    parser.add_argument("--lmax", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    transfers = {c: read_transfer(b) for c, b in zip(args.channels, args.beams, strict=True)}
    hits = {c: read_column(s, "WEIGHT")[0] for c, s in zip(args.channels, args.splits, strict=True)}
    if args.difference:
        half = np.full(args.lmax + 1, 0.5)
        weights = dict(zip(args.channels, (half, -half), strict=True))
    else:
        variances = {c: float(np.mean(1 / w[w > 0])) for c, w in hits.items()}
        weights = noise_weights(transfers, variances, args.lmax, args.ranges)
    maps = (read_product(s, c) for c, s in zip(args.channels, args.splits, strict=True))
    joined = join_channels(maps, transfers, weights, Beam.gaussian(args.lmax, args.fwhm_arcmin), args.name)
    write_split(args.output, joined, joined_weight(list(hits.values())))
    publish_record(args.output, inputs=[*args.splits, *args.beams], settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
