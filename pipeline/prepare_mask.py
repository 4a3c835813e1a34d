"""Read a mask, apodise it and publish it."""

from __future__ import annotations

import argparse

from cmbfit.io import publish_record, require_sha256
from cmbfit.sky import apodise, galactic_cut, read_mask, write_mask
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, prepare, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--mask", help="HEALPix FITS")
    source.add_argument("--galactic-cut", nargs=2, type=float, metavar=("NSIDE", "DEGREES"))
    parser.add_argument("--name", default="mask")
    parser.add_argument("--coord", help="G, C or E where the file does not say")
    parser.add_argument("--ordering", help="RING or NESTED where the file does not say")
    parser.add_argument("--apodisation-deg", type=float, default=0.0)
    parser.add_argument("--apodisation-type", choices=["C1", "C2"], default="C2")
    parser.add_argument("--mask-sha256", help="what the mask file must be")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    if args.mask:
        require_sha256(args.mask, args.mask_sha256)
    if args.mask:
        mask = read_mask(args.mask, name=args.name, coord=args.coord, ordering=args.ordering)
    else:
        mask = galactic_cut(int(args.galactic_cut[0]), args.galactic_cut[1])
    mask = apodise(mask, args.apodisation_deg, args.apodisation_type)
    write_mask(args.output, mask)
    publish_record(
        args.output,
        inputs=[args.mask] if args.mask else [],
        settings=vars(args),
        fsky=mask.fsky,
        fsky_modes=mask.fsky_modes,
    )


if __name__ == "__main__":
    run_stage(main)
