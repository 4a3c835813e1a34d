"""Plot prepared maps (I, Q, U, P) and the mask."""

from __future__ import annotations

import argparse

from cmbfit.figures.maps import maps_table, plot_maps, plot_mask
from cmbfit.figures.style import save_figure
from cmbfit.sky import read_mask_product, read_product
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", nargs="+", required=True, help="products of prepare_maps")
    parser.add_argument("--names", nargs="+", required=True, help="one name a map")
    parser.add_argument("--mask", required=True, help="product of prepare_mask")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    parser.add_argument("--mask-output", required=True, help="stem of the mask's figure")
    args = parser.parse_args()
    if len(args.maps) != len(args.names):
        parser.error(f"{len(args.maps)} maps but {len(args.names)} names")
    mask = read_mask_product(args.mask, name="mask")
    maps = [read_product(path, name) for path, name in zip(args.maps, args.names, strict=True)]
    save_figure(plot_maps(maps, mask), args.output, maps_table(maps, mask))
    save_figure(plot_mask(mask), args.mask_output, maps_table([], mask))


if __name__ == "__main__":
    run_stage(main)
