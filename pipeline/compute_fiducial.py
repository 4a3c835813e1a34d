"""Compute the fiducial model's spectra with CAMB."""

from __future__ import annotations

import argparse
import json

from cmbfit.io import publish_record
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import CambSettings, CambTheory
from cmbfit.theory.textfile import write_spectrum
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, compute, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=json.loads, required=True, help="JSON: name to value")
    parser.add_argument("--camb", type=json.loads, default={}, help="JSON: fields of CambSettings")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    theory = CambTheory(CambSettings(**args.camb))
    spectra = theory.spectra(point_from_values(theory, args.parameters))
    write_spectrum(args.output, spectra)
    derived = {name: value.item() for name, value in spectra.parameters.items()}
    publish_record(args.output, settings=theory.settings, parameters=derived)


if __name__ == "__main__":
    run_stage(main)
