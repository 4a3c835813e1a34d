"""Run the null tests of a survey; the outcome is a file, the exit code is 0."""

from __future__ import annotations

import argparse
import json

from cmbfit.io import publish_record, write_json
from cmbfit.spectra import read_spectra
from cmbfit.survey.fields import read_fields
from cmbfit.survey.nulls import survey_checks
from cmbfit.theory.textfile import read_arrays
from pipeline.estimate_survey import bins_of, field_files, inputs_of
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, test, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=json.loads, required=True, help="JSON: files of each field")
    parser.add_argument("--differences", type=json.loads, default=[], help="JSON: of differences of channels")
    parser.add_argument("--spectra", required=True, help="SACC: the combination")
    parser.add_argument("--fiducial", required=True, help="table of D_l (uK^2): ell tt te ee bb ...")
    parser.add_argument("--edges", nargs="+", required=True, help="half-open bins, or: planck LMAX")
    parser.add_argument("--lmax", type=int, required=True, help="of the mode coupling")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    bins = bins_of(args.edges)
    files, differences = field_files(args.fields), field_files(args.differences)
    checks = survey_checks(
        read_fields(files, bins),
        read_spectra(args.spectra),
        bins,
        read_arrays(args.fiducial),
        args.lmax,
        read_fields(differences, bins),
    )
    write_json(args.output, {"checks": checks})
    inputs = inputs_of([*files, *differences], args.fields)
    publish_record(args.output, inputs=[*inputs, args.spectra, args.fiducial])


if __name__ == "__main__":
    run_stage(main)
