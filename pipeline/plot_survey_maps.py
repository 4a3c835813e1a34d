from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.figures.maps import maps_table, plot_maps, plot_masks
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from cmbfit.sky import Mask, combine_masks
from cmbfit.sky.pixelisation import Healpix
from cmbfit.survey.display import shown_mask, smoothed_map
from cmbfit.survey.fields import read_field
from pipeline.estimate_survey import field_files


def plot_survey_maps(*, fields: Path, output: Path, mask_output: Path, nside: int = 64) -> None:
    """Plot the mean of each field's splits, cleaned and smoothed to one degree, and the masks.

    Parameters
    ----------
    fields
        JSON: files of each field.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    mask_output
        Stem of the masks' figure.
    nside
        Of the figure.
    """
    maps = []
    masks: dict[str, Mask] = {}
    for files in field_files(read_json(fields)):
        one = read_field(files)
        grid = one.field.mask.grid
        shown = min(nside, grid.nside) if isinstance(grid, Healpix) else nside
        maps.append(smoothed_map(one, shown))
        letters = {"": "t"} if one.field.mask_p is None else {" T": "t", " P": "e"}
        for label, letter in letters.items():
            masks[one.field.name + label] = shown_mask(one.field.mask_of(letter), shown)
    common = combine_masks(list(masks.values()), "all", how="min")
    save_figure(plot_maps(maps, common), output.with_suffix(""), maps_table(maps, common))
    table: dict[str, np.ndarray] = {"pixel": np.arange(common.weights.size)}
    table |= {f"weight_{name.replace(' ', '_')}": mask.weights for name, mask in masks.items()}
    save_figure(plot_masks(list(masks.items())), mask_output.with_suffix(""), table)
