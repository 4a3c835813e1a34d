"""Read a mask, apodise it and publish it."""

from __future__ import annotations

import argparse

from cmbfit.io import publish_record
from cmbfit.sky import apodise, read_mask, write_mask


def main() -> None:
    """Parse the arguments, prepare, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mask", required=True, help="HEALPix FITS")
    parser.add_argument("--name", default="mask")
    parser.add_argument("--coord", help="G, C or E where the file does not say")
    parser.add_argument("--ordering", help="RING or NESTED where the file does not say")
    parser.add_argument("--apodisation-deg", type=float, default=0.0)
    parser.add_argument("--apodisation-type", choices=["C1", "C2"], default="C2")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    mask = read_mask(args.mask, name=args.name, coord=args.coord, ordering=args.ordering)
    mask = apodise(mask, args.apodisation_deg, args.apodisation_type)
    write_mask(args.output, mask)
    publish_record(
        args.output, inputs=[args.mask], settings=vars(args), fsky=mask.fsky, fsky_modes=mask.fsky_modes
    )


if __name__ == "__main__":
    main()
