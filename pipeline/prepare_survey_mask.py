from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.io import publish_record, read_json, require_sha256
from cmbfit.sky import apodise, binary, combine_masks, full_sky, galactic_cut, moments, read_mask, write_mask
from cmbfit.sky.fits import coordinates_of, grid_of, read_column
from cmbfit.sky.maps import Mask


def prepare_survey_mask(
    *,
    masks: list[Path],
    sha256: list[str],
    splits: list[Path],
    name: str,
    mask: Path,
    output: Path,
) -> None:
    """Join the masks of a field, cut Galactic latitudes, apodise, cut pixels without data in any split, publish.

    Parameters
    ----------
    masks
        FITS on the grid of the splits.
    sha256
        What the mask files must be.
    splits
        Products of prepare_split.
    name
        Of the product.
    mask
        JSON: the mask's section (spec), and what the headers do not say (declared).
    output
        Where the product goes (FITS).
    """
    given = read_json(mask)
    spec, said = given["spec"], given["declared"]
    seen = read_column(splits[0], "WEIGHT")[0] > 0
    for path in splits[1:]:
        seen &= read_column(path, "WEIGHT")[0] > 0
    coord = coordinates_of(splits[0])
    grid, _ = grid_of(splits[0])
    data = Mask(seen.astype(np.float64), coord, "data in every split", pixelisation=grid)
    found = []
    for path, expected in zip(masks, sha256, strict=True):
        require_sha256(path, expected)
        found.append(
            read_mask(
                path,
                name=path.name,
                coord=said.get("coord"),
                ordering=said.get("ordering"),
                column=spec.get("column"),
                otherwise=coord,
            )
        )
    if "latitude_deg" in spec:
        found.append(galactic_cut(grid, spec["latitude_deg"], coord))
    if not found:
        found.append(full_sky(grid, coord))
    joined = combine_masks(found, name, how=spec.get("combine", "product"))
    apodisation = spec.get("apodisation", {"type": "C1", "degrees": 0.0})
    if apodisation["degrees"] > 0:
        joined = apodise(binary(combine_masks([joined, data])), apodisation["degrees"], apodisation["type"])
    joined = combine_masks([joined, data], name)
    write_mask(output, joined)
    publish_record(
        output, inputs=[*masks, *splits], settings={**given, "name": name}, moments=moments(joined)
    )
