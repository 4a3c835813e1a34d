"""Plot the mean of each field's splits, cleaned and smoothed to one degree, and the masks."""

from __future__ import annotations

import argparse
import json

import numpy as np

from cmbfit.figures.maps import maps_table, plot_maps, plot_masks
from cmbfit.figures.style import save_figure
from cmbfit.sky import combine_masks, degrade_mask
from cmbfit.survey.display import smoothed_map
from cmbfit.survey.fields import read_field
from pipeline.estimate_survey import field_files
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=json.loads, required=True, help="JSON: files of each field")
    parser.add_argument("--nside", type=int, default=64, help="of the figure")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    parser.add_argument("--mask-output", required=True, help="stem of the masks' figure")
    args = parser.parse_args()
    maps, masks = [], []
    for files in field_files(args.fields):
        one = read_field(files)
        nside = min(args.nside, one.field.mask.nside)
        maps.append(smoothed_map(one, nside))
        masks.append(degrade_mask(one.field.mask, nside, None))
    common = combine_masks(masks, "all", how="min")
    save_figure(plot_maps(maps, common), args.output, maps_table(maps, common))
    table: dict[str, np.ndarray] = {"pixel": np.arange(common.weights.size)}
    table |= {f"weight_{m.name}": k.weights for m, k in zip(maps, masks, strict=True)}
    save_figure(plot_masks([(m.name, k) for m, k in zip(maps, masks, strict=True)]), args.mask_output, table)


if __name__ == "__main__":
    run_stage(main)
