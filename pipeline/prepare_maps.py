"""Read the map of one band, remove its monopole and dipole under a mask, cut it to the mask, publish it."""

from __future__ import annotations

import argparse

from cmbfit.io import publish_record, require_sha256
from cmbfit.sky import cut_to_mask, read_mask_product, read_stokes, remove_monopole_dipole, write_product
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, prepare, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map", required=True, help="HEALPix FITS with I, Q, U")
    parser.add_argument("--mask", required=True, help="product of prepare_mask")
    parser.add_argument("--band", required=True)
    parser.add_argument("--unit", help="K, mK, uK, ... where the file does not say")
    parser.add_argument("--coord", help="G, C or E where the file does not say")
    parser.add_argument("--ordering", help="RING or NESTED where the file does not say")
    parser.add_argument("--polcconv", help="COSMO or IAU where the file does not say")
    parser.add_argument("--frequency-ghz", type=float, help="for K_RJ and MJy/sr")
    parser.add_argument("--map-sha256", help="what the map file must be")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    require_sha256(args.map, args.map_sha256)
    mask = read_mask_product(args.mask, name="mask")
    stokes = read_stokes(
        args.map,
        name=args.band,
        unit=args.unit,
        coord=args.coord,
        ordering=args.ordering,
        polcconv=args.polcconv,
        frequency_ghz=args.frequency_ghz,
    )
    stokes = cut_to_mask(remove_monopole_dipole(stokes, mask), mask)
    write_product(args.output, stokes)
    publish_record(args.output, inputs=[args.map, args.mask], settings=vars(args), steps=list(stokes.history))


if __name__ == "__main__":
    run_stage(main)
