from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record, read_json, require_sha256
from cmbfit.sky.bandpass import read_frequency
from cmbfit.sky.fits import write_split
from cmbfit.sky.splits import coadd, read_detector


def prepare_split(
    *, maps: list[Path], sha256: list[str], name: str, band: Path, frequency: str, output: Path
) -> None:
    """Read the maps of one split's detectors, calibrate and join them, and publish map and weight.

    Parameters
    ----------
    maps
        HEALPix FITS with I, Q, U and hits.
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
    """
    given = read_json(band)
    field, found, weights = given["spec"], [], []
    detectors = field["detectors"].items()
    for path, expected, (detector, spec) in zip(maps, sha256, detectors, strict=True):
        require_sha256(path, expected)
        stokes, weight = read_detector(
            path,
            name=detector,
            sigma0_uk=spec.get("sigma0_uk", 1.0),
            max_variance_uk2=field.get("max_variance_uk2", 1e6),
            calibration={**field.get("calibration", {}), **spec.get("calibration", {})},
            frequency=read_frequency(frequency),
            **{k: v for k, v in given["declared"].items() if v is not None},
        )
        found.append(stokes)
        weights.append(weight)
    joined, total = coadd(found, weights, name)
    write_split(output, joined, total)
    publish_record(output, inputs=maps, settings={**given, "name": name}, steps=list(joined.history))
