from __future__ import annotations

from pathlib import Path

from cmbfit.errors import ConfigError
from cmbfit.figures.maps import maps_table, plot_mask
from cmbfit.figures.maps import plot_maps as draw
from cmbfit.figures.style import save_figure
from cmbfit.sky import read_mask_product, read_product


def plot_maps(*, maps: list[Path], names: list[str], mask: Path, output: Path, mask_output: Path) -> None:
    """Plot prepared maps (I, Q, U, P) and the mask.

    Parameters
    ----------
    maps
        Products of prepare_maps.
    names
        One name a map.
    mask
        Product of prepare_mask.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    mask_output
        Where the mask's figure goes, likewise.
    """
    if len(maps) != len(names):
        raise ConfigError(
            f"plot_maps: expected one name a map, found {len(maps)} maps and {len(names)} names"
        )
    sky = read_mask_product(mask, name="mask")
    bands = [read_product(path, name) for path, name in zip(maps, names, strict=True)]
    save_figure(draw(bands, sky), output.with_suffix(""), maps_table(bands, sky))
    save_figure(plot_mask(sky), mask_output.with_suffix(""), maps_table([], sky))
