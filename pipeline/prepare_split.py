from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record, read_json, require_sha256
from cmbfit.sky.bandpass import read_frequency
from cmbfit.sky.fits import write_split
from cmbfit.sky.splits import coadd, read_detector


def prepare_split(
    *,
    maps: list[Path],
    sha256: list[str],
    name: str,
    band: Path,
    frequency: str,
    output: Path,
    weights: list[Path] | None = None,
    weights_sha256: list[str] | None = None,
) -> None:
    """Read the maps of one split's detectors, calibrate and join them, and publish map and weight.

    Parameters
    ----------
    maps
        HEALPix or CAR FITS with I, Q, U and hits.
    sha256
        What the map files must be.
    name
        Of field and split.
    band
        JSON: the field's section (spec), and what the headers do not say (declared).
    frequency
        For K_RJ and MJy/sr: GHz, or the file of a bandpass (FILE@GHZ, FILE[HDU]@GHZ).
    output
        Where the product goes (FITS).
    weights
        Of each map, where they are no part of it: inverse noise variances of I in 1/uK^2, or hits.
    weights_sha256
        What these files must be.
    """
    given = read_json(band)
    field, found, joint = given["spec"], [], []
    detectors = field["detectors"].items()
    apart: list[Path | None] = [*weights] if weights else [None] * len(maps)
    for path, expected in zip(weights or (), weights_sha256 or (), strict=True):
        require_sha256(path, expected)
    for path, expected, of_map, (detector, spec) in zip(maps, sha256, apart, detectors, strict=True):
        require_sha256(path, expected)
        stokes, weight = read_detector(
            path,
            name=detector,
            sigma0_uk=spec.get("sigma0_uk", 1.0),
            max_variance_uk2=field.get("max_variance_uk2", 1e6),
            calibration={**field.get("calibration", {}), **spec.get("calibration", {})},
            frequency=read_frequency(frequency),
            weights=of_map,
            **{k: v for k, v in given["declared"].items() if v is not None},
        )
        found.append(stokes)
        joint.append(weight)
    joined, total = coadd(found, joint, name)
    write_split(output, joined, total)
    publish_record(
        output, inputs=[*maps, *(weights or ())], settings={**given, "name": name}, steps=list(joined.history)
    )
