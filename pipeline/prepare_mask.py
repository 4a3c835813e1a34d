from __future__ import annotations

from pathlib import Path
from typing import Literal

from cmbfit.errors import ConfigError
from cmbfit.io import publish_record, require_sha256
from cmbfit.sky import apodise, full_sky, galactic_cut, read_mask, write_mask
from cmbfit.sky.fits import grid_of
from pipeline.record import recorded


def prepare_mask(
    *,
    output: Path,
    mask: Path | None = None,
    cut: tuple[float, float] | None = None,
    name: str = "mask",
    coord: str | None = None,
    ordering: str | None = None,
    apodisation_deg: float = 0.0,
    apodisation_type: Literal["C1", "C2"] = "C2",
    mask_sha256: str | None = None,
    column: str | None = None,
    like: Path | None = None,
) -> None:
    """Read a mask, apodise it and publish it.

    Parameters
    ----------
    output
        Where the product goes (FITS).
    mask
        HEALPix FITS.
    cut
        A Galactic cut in place of a file: NSIDE and latitude in degrees. Without a file and a cut: the full sky.
    name
        Of the product.
    coord
        G, C or E where the file does not say.
    ordering
        RING or NESTED where the file does not say.
    apodisation_deg
        Width in degrees.
    apodisation_type
        C1 or C2, as NaMaster has them.
    mask_sha256
        What the mask file must be.
    column
        Of several, the one of the mask: its name or its number from 0.
    like
        A map, whose coordinates a mask has that says none, and whose grid the full sky.
    """
    given = recorded(locals())
    if mask is not None and cut is None:
        require_sha256(mask, mask_sha256)
        sky = read_mask(
            mask,
            name=name,
            coord=coord,
            ordering=ordering,
            column=int(column) if column and column.isdecimal() else column,
            otherwise=coord or (grid_of(like)[1] if like else None),
        )
    elif cut is not None and mask is None:
        sky = galactic_cut(int(cut[0]), cut[1])
    elif mask is None and like is not None:
        nside, system = grid_of(like)
        sky = full_sky(nside, system or coord or "G")
    else:
        raise ConfigError(
            "prepare_mask: expected a mask file, a Galactic cut, or a map whose whole sky is used; found a file and a cut, or none"
        )
    sky = apodise(sky, apodisation_deg, apodisation_type)
    write_mask(output, sky)
    publish_record(
        output,
        inputs=[mask] if mask else [],
        settings=given,
        fsky=sky.fsky,
        fsky_modes=sky.fsky_modes,
    )
