"""Fit the template coefficients of one field and publish them with covariance and checks."""

from __future__ import annotations

import argparse
import json

import numpy as np

from cmbfit.io import publish_record, write_json
from cmbfit.sky import read_mask_product
from cmbfit.sky.cleaning import Source, fit_coefficients
from cmbfit.sky.fits import read_column
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import read_alms
from cmbfit.theory.textfile import read_arrays
from pipeline.run_stage import run_stage


def _source(spec: dict) -> Source:
    weight = np.sum([read_column(path, "WEIGHT")[0] for path in spec["splits"]], axis=0)
    positive = weight > 0
    depth = np.where(positive, 1 / np.where(positive, weight, 1.0), 1 / weight[positive].min())
    alms = [np.stack([x.e, x.b]) for x in map(read_alms, spec["alms"])]
    return Source(spec["name"], alms, depth, read_beam_table(spec["beam"]), spec.get("noise_uk_arcmin"))


def main() -> None:
    """Parse the arguments, fit, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--field", type=json.loads, required=True, help="JSON: name, splits, alms, beam")
    parser.add_argument("--templates", type=json.loads, required=True, help="JSON: of each, and has_cmb")
    parser.add_argument("--mask", required=True, help="product of prepare_survey_mask")
    parser.add_argument("--fiducial", required=True, help="table of D_l (uK^2): ell tt te ee bb ...")
    parser.add_argument("--nside", type=int, required=True, help="of the fit")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    fit = fit_coefficients(
        _source(args.field),
        [_source(t) for t in args.templates],
        [t["has_cmb"] for t in args.templates],
        read_mask_product(args.mask, name="mask"),
        args.nside,
        read_arrays(args.fiducial)["ee"],
    )
    errors = np.sqrt(np.diag(fit.covariance_a))
    check = {
        "name": f"templates of {args.field['name']}, reduced chi2",
        "value": fit.reduced_chi2,
        "tolerance": "[0.5, 2]",
        "pass": bool(0.5 < fit.reduced_chi2 < 2),
        "comment": "; ".join(
            f"{name} {a:.5f} +- {s:.5f}" for name, a, s in zip(fit.names, fit.a, errors, strict=True)
        ),
    }
    out = {"field": args.field["name"], "templates": list(fit.names), "reduced_chi2": fit.reduced_chi2}
    out |= {k: getattr(fit, k).tolist() for k in ("a", "covariance_a", "b", "covariance_b")}
    write_json(args.output, {**out, "checks": [check]})
    files = [p for s in (args.field, *args.templates) for p in (*s["splits"], *s["alms"], s["beam"])]
    publish_record(args.output, inputs=[*files, args.mask, args.fiducial], settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
