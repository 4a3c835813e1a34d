"""Join the masks of a field, cut Galactic latitudes, apodise, cut pixels without data in any split, publish."""

from __future__ import annotations

import argparse
import json

import numpy as np

from cmbfit.errors import ConfigError
from cmbfit.io import publish_record, require_sha256
from cmbfit.sky import apodise, binary, combine_masks, galactic_cut, moments, read_mask, write_mask
from cmbfit.sky.fits import read_column
from cmbfit.sky.maps import Mask
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, prepare, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", nargs="*", default=[], help="HEALPix FITS")
    parser.add_argument("--sha256", nargs="*", default=[], help="what the mask files must be")
    parser.add_argument("--splits", nargs="+", required=True, help="products of prepare_split")
    parser.add_argument("--name", required=True)
    parser.add_argument("--mask", type=json.loads, required=True, help="JSON: the mask's section")
    parser.add_argument("--declared", type=json.loads, default={}, help="JSON: what headers do not say")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    spec = args.mask
    seen = read_column(args.splits[0], "WEIGHT")[0] > 0
    for path in args.splits[1:]:
        seen &= read_column(path, "WEIGHT")[0] > 0
    coord = args.declared.get("coord") or "G"
    data = Mask(seen.astype(np.float64), coord=coord, name="data in every split")
    masks = []
    for path, sha256 in zip(args.masks, args.sha256, strict=True):
        require_sha256(path, sha256)
        masks.append(
            read_mask(
                path,
                name=path.rsplit("/", 1)[-1],
                coord=args.declared.get("coord"),
                ordering=args.declared.get("ordering"),
                column=spec.get("column"),
            )
        )
    if "latitude_deg" in spec:
        masks.append(galactic_cut(data.nside, spec["latitude_deg"], coord))
    if not masks:
        raise ConfigError(f"maps.masks.{args.name}: expected files, latitude_deg or both")
    mask = combine_masks(masks, args.name, how=spec.get("combine", "product"))
    apodisation = spec.get("apodisation", {"type": "C1", "degrees": 0.0})
    if apodisation["degrees"] > 0:
        mask = apodise(binary(combine_masks([mask, data])), apodisation["degrees"], apodisation["type"])
    mask = combine_masks([mask, data], args.name)
    write_mask(args.output, mask)
    publish_record(
        args.output, inputs=[*args.masks, *args.splits], settings=vars(args), moments=moments(mask)
    )


if __name__ == "__main__":
    run_stage(main)
