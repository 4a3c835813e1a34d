"""Read the beams of a field's detectors, average them, multiply by the pixel window, publish a text table."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from cmbfit.data.archive import extract_member
from cmbfit.io import atomic_path, publish_record, require_sha256
from cmbfit.sky import Beam, read_beam_fits, read_beam_text
from cmbfit.sky.beams import LEAKS
from cmbfit.survey.fields import write_beam_table
from pipeline.run_stage import run_stage


def _read(path: str, spec: dict, lmax: int) -> Beam:
    if "member" in spec:
        with tempfile.TemporaryDirectory() as folder:
            member = Path(folder) / "beam.fits"
            extract_member(path, spec["member"], member)
            return _read(str(member), {k: v for k, v in spec.items() if k != "member"}, lmax)
    if path.endswith(".fits"):
        leakage = spec.get("leakage", False)
        return read_beam_fits(path, lmax, tuple(spec.get("hdus", (1,))), leakage=leakage)
    return read_beam_text(path, lmax)


def main() -> None:
    """Parse the arguments, average, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beams", nargs="+", required=True, help="text, FITS or tar, one a detector")
    parser.add_argument("--sha256", nargs="+", required=True, help="what the beam files must be")
    parser.add_argument("--specs", type=json.loads, required=True, help="JSON: member and hdus of each")
    parser.add_argument("--weights", type=float, nargs="+", required=True, help="of each detector")
    parser.add_argument("--pixel-window", required=True)
    parser.add_argument("--lmax", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    beams = []
    for path, sha256, spec in zip(args.beams, args.sha256, args.specs, strict=True):
        require_sha256(path, sha256)
        beams.append(_read(path, spec, args.lmax))
    # the map is sum w m / sum w: its beam is the same mean, exact where hits share one pattern
    none = np.zeros(args.lmax + 1)
    functions = [[*b.teb, *(b.leaks.get(key, none) for key in LEAKS)] for b in beams]
    t, e, b, *leaks = np.average(functions, axis=0, weights=args.weights)
    mean = Beam(t, e, b, *(leak if leak.any() else None for leak in leaks))
    with atomic_path(args.output) as tmp:
        write_beam_table(tmp, mean.times_pixel_window(args.pixel_window))
    publish_record(args.output, inputs=[*dict.fromkeys(args.beams), args.pixel_window], settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
