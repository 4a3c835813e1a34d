"""Fit temperature, mu and y to the FIRAS monopole in closed form; the record and its figure."""

from __future__ import annotations

import argparse

import matplotlib as mpl

from cmbfit.figures.firas import firas_table, plot_firas
from cmbfit.figures.style import save_figure
from cmbfit.inference.analytic_models import blackbody_table
from cmbfit.io import publish_record, write_json
from cmbfit.theory.blackbody.firas import (
    CALIBRATION_ERROR,
    PUBLISHED,
    REFERENCE_TEMPERATURE,
    fit_firas,
    load_firas,
)
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, fit, plot, publish."""
    mpl.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--amplitude-max", type=float, required=True, help="flat prior of mu and y")
    parser.add_argument("--figure", required=True, help="stem: .png, .pdf and .csv are added")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    data = load_firas()
    fits = [fit_firas(data, p) for p in (("dT", "galaxy"), ("dT", "mu", "galaxy"), ("dT", "y", "galaxy"))]
    shift, error = float(fits[0].values[0]), float(fits[0].errors[0])
    record = {
        "temperature": REFERENCE_TEMPERATURE + shift,
        "temperature_error": (error**2 + CALIBRATION_ERROR**2) ** 0.5,
        "fits": [fit.summary() for fit in fits],
        "published": list(PUBLISHED),
        "table": blackbody_table(args.amplitude_max, data),
    }
    save_figure(plot_firas(data, fits[1:]), args.figure, firas_table(data, fits[1:]))
    write_json(args.output, record)
    publish_record(args.output, settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
