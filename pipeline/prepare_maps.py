from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record, require_sha256
from cmbfit.sky import cut_to_mask, read_mask_product, read_stokes, remove_monopole_dipole, write_product
from cmbfit.sky.bandpass import read_frequency
from pipeline.record import recorded


def prepare_maps(
    *,
    map: Path,
    mask: Path,
    band: str,
    output: Path,
    unit: str | None = None,
    coord: str | None = None,
    ordering: str | None = None,
    polcconv: str | None = None,
    frequency: str | None = None,
    map_sha256: str | None = None,
) -> None:
    """Read the map of one band, remove its monopole and dipole under a mask, cut it to the mask, publish it.

    Parameters
    ----------
    map
        HEALPix FITS with I, Q, U.
    mask
        Product of prepare_mask.
    band
        Name of the band.
    output
        Where the product goes (FITS).
    unit
        K, mK, uK, ... where the file does not say.
    coord
        G, C or E where the file does not say.
    ordering
        RING or NESTED where the file does not say.
    polcconv
        COSMO or IAU where the file does not say.
    frequency
        For K_RJ and MJy/sr: GHz, or the file of a bandpass (FILE, FILE@GHZ, FILE[HDU]@GHZ).
    map_sha256
        What the map file must be.
    """
    given = recorded(locals())
    require_sha256(map, map_sha256)
    sky = read_mask_product(mask, name="mask")
    stokes = read_stokes(
        map,
        name=band,
        unit=unit,
        coord=coord,
        ordering=ordering,
        polcconv=polcconv,
        frequency=None if frequency is None else read_frequency(frequency),
    )
    stokes = cut_to_mask(remove_monopole_dipole(stokes, sky), sky)
    write_product(output, stokes)
    publish_record(output, inputs=[map, mask], settings=given, steps=list(stokes.history))
