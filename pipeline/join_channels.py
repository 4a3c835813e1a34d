"""Bring one split of several channels to one beam, join them, and publish map and weight."""

from __future__ import annotations

import argparse
import json

import numpy as np

from cmbfit.errors import MapError
from cmbfit.io import publish_record
from cmbfit.sky import Beam, StokesMap
from cmbfit.sky.channels import join_channels, joined_weight, noise_weights
from cmbfit.sky.fits import coordinates_of, read_column, write_split
from cmbfit.sky.harmonic import alm2stokes
from cmbfit.sky.maps import nside_of
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import read_alms
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, join, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alms", nargs="+", required=True, help="products of transform_channel")
    parser.add_argument(
        "--splits", nargs="+", required=True, help="products of prepare_split, of their weights"
    )
    parser.add_argument("--beams", nargs="+", required=True, help="products of prepare_beam")
    parser.add_argument("--channels", nargs="+", required=True, help="their names")
    parser.add_argument("--name", required=True)
    parser.add_argument("--fwhm-arcmin", type=float, required=True, help="Gaussian beam of the result")
    parser.add_argument("--ranges", type=json.loads, default={}, help="JSON: highest multipole of a channel")
    parser.add_argument("--difference", action="store_true", help="half the first minus half the second")
    parser.add_argument("--lmax", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    channels = args.channels
    coord, *others = dict.fromkeys(coordinates_of(s) for s in args.splits)
    if others:
        raise MapError(
            f"joining channels {channels}: expected one coordinate system, found {[coord, *others]}"
        )
    transfers = {c: read_beam_table(b) for c, b in zip(channels, args.beams, strict=True)}
    hits = {c: read_column(s, "WEIGHT")[0] for c, s in zip(channels, args.splits, strict=True)}
    if args.difference:
        half = np.full(args.lmax + 1, 0.5)
        weights = dict(zip(channels, (half, -half), strict=True))
    else:
        variances = {c: float(np.mean(1 / w[w > 0])) for c, w in hits.items()}
        weights = noise_weights(transfers, variances, args.lmax, args.ranges)
    weight = joined_weight(list(hits.values()))
    nside = nside_of(weight.size, args.name)
    hits.clear()
    found = {c: read_alms(a, "no mask") for c, a in zip(channels, args.alms, strict=True)}
    joined = join_channels(
        {c: np.stack([x.t, x.e, x.b]) for c, x in found.items()},
        transfers,
        weights,
        Beam.gaussian(args.lmax, args.fwhm_arcmin),
    )
    iqu = alm2stokes(joined, nside)
    iqu[:, weight == 0] = np.nan
    record = {"step": "join channels", "channels": channels, "difference": args.difference,
              "fwhm_arcmin": args.fwhm_arcmin, "missing": int((weight == 0).sum())}  # fmt: skip
    i, q, u = iqu
    stokes = StokesMap(i, q, u, coord=coord, name=args.name, history=(record,))
    write_split(args.output, stokes, weight)
    publish_record(args.output, inputs=[*args.alms, *args.splits, *args.beams], settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
