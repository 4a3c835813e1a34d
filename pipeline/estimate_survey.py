"""Estimate all cross-spectra of a survey's fields, combine them, compare pairs of fields, publish."""

from __future__ import annotations

import argparse
import json

from cmbfit.io import publish_record, read_json, write_json
from cmbfit.spectra import Bins, write_combined
from cmbfit.survey.analysis import analyse
from cmbfit.survey.fields import FieldFiles, read_fields
from cmbfit.survey.products import write_pairs
from cmbfit.theory.textfile import read_arrays
from pipeline.run_stage import run_stage


def field_files(specs: list[dict]) -> list[FieldFiles]:
    """Return where the files of each field lie; `coefficients` names the fit's file."""
    out = []
    for spec in specs:
        path = spec.get("coefficients")
        out.append(FieldFiles(**{**spec, "coefficients": read_json(path) if path else {}}))
    return out


def inputs_of(files: list[FieldFiles], specs: list[dict]) -> list[str]:
    """Return every file behind the fields, once each."""
    out = [
        p
        for f in files
        for p in (*f.splits, *f.alms, f.mask, f.mask_p, f.beam, *(t for r in f.templates for t in r))
        if p
    ]
    return list(dict.fromkeys([*out, *(s["coefficients"] for s in specs if s.get("coefficients"))]))


def bins_of(edges: list[str]) -> Bins:
    """Return the bins: edges, or "planck LMAX"."""
    return Bins.planck(int(edges[1])) if edges[0] == "planck" else Bins([int(e) for e in edges])


def main() -> None:
    """Parse the arguments, estimate, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=json.loads, required=True, help="JSON: files of each field")
    parser.add_argument("--fiducial", required=True, help="table of D_l (uK^2): ell tt te ee bb ...")
    parser.add_argument("--edges", nargs="+", required=True, help="half-open bins, or: planck LMAX")
    parser.add_argument("--lmax", type=int, required=True, help="of the mode coupling")
    parser.add_argument("--pairs", type=json.loads, help="JSON: pairs of fields; all when omitted")
    parser.add_argument("--cuts", type=json.loads, default={}, help="JSON: spectrum to pair to range")
    parser.add_argument("--pairs-output", required=True, help="HDF5: all cross-spectra")
    parser.add_argument("--checks", required=True, help="JSON: pairs of fields against each other")
    parser.add_argument("--output", required=True, help="SACC: the combination")
    args = parser.parse_args()
    files, bins = field_files(args.fields), bins_of(args.edges)
    pairs, combined, checks = analyse(
        read_fields(files, bins),
        bins,
        read_arrays(args.fiducial),
        lmax=args.lmax,
        pairs=[(a, b) for a, b in args.pairs] if args.pairs else None,
        cuts=args.cuts,
    )
    inputs = [*inputs_of(files, args.fields), args.fiducial]
    write_pairs(args.pairs_output, pairs)
    publish_record(args.pairs_output, inputs=inputs, settings=vars(args))
    write_json(args.checks, {"checks": checks})
    write_combined(args.output, combined)
    publish_record(args.output, inputs=inputs, settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
