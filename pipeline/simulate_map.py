"""Simulate one split of a sky of known cosmology and publish it as a map."""

from __future__ import annotations

import argparse
import json
import math

import healpy

from cmbfit.io import publish_record
from cmbfit.sky import Band, Beam, Noise, Simulation, write_product
from cmbfit.theory.textfile import read_arrays
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, simulate, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--theory", required=True, help="D_l of the sky")
    parser.add_argument("--band", required=True)
    parser.add_argument("--simulate", type=json.loads, required=True, help="JSON: the band's section")
    parser.add_argument("--fwhm-arcmin", type=float, required=True)
    parser.add_argument("--pixel-window", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    spec = args.simulate
    pixel_arcmin = math.degrees(healpy.nside2resol(spec["nside"])) * 60
    noise = Noise(spec["noise_t_uk_arcmin"] / pixel_arcmin, spec["noise_p_uk_arcmin"] / pixel_arcmin)
    beam = Beam.gaussian(spec["lmax"], args.fwhm_arcmin).times_pixel_window(args.pixel_window)
    dl = {pair: x[: spec["lmax"] + 1] for pair, x in read_arrays(args.theory).items() if pair != "pp"}
    simulation = Simulation(spec["nside"], spec["lmax"], dl, seed=args.seed)
    # one band for all splits: its name seeds the noise, its realisation the CMB
    band = Band("simulated", 143.0, beam, noise)
    sky = simulation.sky(band, split=spec["split"], n_splits=spec["splits"])
    write_product(args.output, sky)
    publish_record(args.output, inputs=[args.theory, args.pixel_window], settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
