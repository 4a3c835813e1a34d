from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from cmbfit.data.archive import extract_member
from cmbfit.errors import ConfigError
from cmbfit.io import publish_record, read_json, require_sha256
from cmbfit.sky import Beam, read_beam, read_mask_product
from cmbfit.sky.beams import LEAKS
from cmbfit.sky.car import Car
from cmbfit.survey.fields import write_beam_table


def _read(path: Path, spec: dict, lmax: int) -> Beam:
    if "member" in spec:
        with tempfile.TemporaryDirectory() as folder:
            member = Path(folder) / Path(spec["member"]).name  # its ending says what it is
            extract_member(path, spec["member"], member)
            return _read(member, {k: v for k, v in spec.items() if k != "member"}, lmax)
    return read_beam(
        path,
        lmax,
        columns=spec.get("columns"),
        hdus=spec.get("hdus"),
        leakage=spec.get("leakage", False),
    )


def prepare_beam(
    *,
    beams: list[Path],
    sha256: list[str],
    detectors: Path,
    lmax: int,
    output: Path,
    pixel_window: Path | None = None,
    mask: Path | None = None,
) -> None:
    """Read the beams of a field's detectors, average them, multiply by the pixel window, publish a text table.

    Parameters
    ----------
    beams
        Text, FITS or tar, one a detector.
    sha256
        What the beam files must be.
    detectors
        JSON: weight of each, and the archive's member, hdus and columns of its beam.
    lmax
        Highest multipole.
    output
        Where the table goes (text).
    pixel_window
        HEALPix pixel_window_n*.fits.
    mask
        Instead of it, the mask of I of a field on a CAR grid: its pixel window of order 0. With neither, none.
    """
    given, found = read_json(detectors), []
    for path, expected, spec in zip(beams, sha256, given, strict=True):
        require_sha256(path, expected)
        found.append(_read(path, spec["beam"], lmax))
    # the map is sum w m / sum w: its beam is the same mean, exact where hits share one pattern
    none = np.zeros(lmax + 1)
    functions = [[*b.teb, *(b.leaks.get(key, none) for key in LEAKS)] for b in found]
    t, e, b, *leaks = np.average(functions, axis=0, weights=[x["weight"] for x in given])
    t_to_e, t_to_b = (leak if leak.any() else None for leak in leaks)
    mean = Beam(t, e, b, t_to_e, t_to_b)
    if pixel_window is not None and mask is not None:
        raise ConfigError(
            "prepare_beam: a pixel window of HEALPix and a mask of a CAR grid: expected one of them"
        )
    if pixel_window is not None:
        mean = mean.times_pixel_window(pixel_window)
    elif mask is not None:
        sky = read_mask_product(mask)
        if not isinstance(sky.grid, Car):
            raise ConfigError(
                f"pixel_window: car, but the maps have {sky.grid.name}: expected a registered pixel_window_n*.fits"
            )
        window = sky.grid.window(sky.weights, lmax)
        mean = mean * Beam(window, window, window)
    write_beam_table(output, mean)
    publish_record(
        output,
        inputs=[*dict.fromkeys(beams), *(p for p in (pixel_window, mask) if p)],
        settings={"detectors": given, "lmax": lmax},
        notes=sorted({note for b in found for note in b.notes}),
    )
