"""Read the maps of one split's detectors, calibrate and join them, and publish map and weight."""

from __future__ import annotations

import argparse
import json

from cmbfit.io import publish_record, require_sha256
from cmbfit.sky.fits import write_split
from cmbfit.sky.splits import coadd, read_detector
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, prepare, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", nargs="+", required=True, help="HEALPix FITS with I, Q, U and hits")
    parser.add_argument("--sha256", nargs="+", required=True, help="what the map files must be")
    parser.add_argument("--name", required=True, help="of field and split")
    parser.add_argument("--band", type=json.loads, required=True, help="JSON: the field's section")
    parser.add_argument("--declared", type=json.loads, default={}, help="JSON: what headers do not say")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    maps, weights = [], []
    detectors = args.band["detectors"].items()
    for path, sha256, (detector, spec) in zip(args.maps, args.sha256, detectors, strict=True):
        require_sha256(path, sha256)
        stokes, weight = read_detector(
            path,
            name=detector,
            sigma0_uk=spec.get("sigma0_uk", 1.0),
            max_variance_uk2=args.band.get("max_variance_uk2", 1e6),
            calibration={**args.band.get("calibration", {}), **spec.get("calibration", {})},
            frequency_ghz=args.band["frequency_ghz"],
            **{k: v for k, v in args.declared.items() if v is not None},
        )
        maps.append(stokes)
        weights.append(weight)
    joined, total = coadd(maps, weights, args.name)
    write_split(args.output, joined, total)
    publish_record(args.output, inputs=args.maps, settings=vars(args), steps=list(joined.history))


if __name__ == "__main__":
    run_stage(main)
