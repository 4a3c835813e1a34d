"""Plot the mean of each field's splits, cleaned and smoothed to one degree, and the masks."""

from __future__ import annotations

import argparse
import json

import numpy as np

from cmbfit.figures.maps import maps_table, plot_maps, plot_masks
from cmbfit.figures.style import save_figure
from cmbfit.sky import Mask, combine_masks, degrade_mask
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
    maps = []
    masks: dict[str, Mask] = {}
    for files in field_files(args.fields):
        one = read_field(files)
        nside = min(args.nside, one.field.mask.nside)
        maps.append(smoothed_map(one, nside))
        letters = {"": "t"} if one.field.mask_p is None else {" T": "t", " P": "e"}
        for label, letter in letters.items():
            masks[one.field.name + label] = degrade_mask(one.field.mask_of(letter), nside, None)
    common = combine_masks(list(masks.values()), "all", how="min")
    save_figure(plot_maps(maps, common), args.output, maps_table(maps, common))
    table: dict[str, np.ndarray] = {"pixel": np.arange(common.weights.size)}
    table |= {f"weight_{name.replace(' ', '_')}": mask.weights for name, mask in masks.items()}
    save_figure(plot_masks(list(masks.items())), args.mask_output, table)


if __name__ == "__main__":
    run_stage(main)
