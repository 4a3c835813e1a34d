from __future__ import annotations

from pathlib import Path

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
from pipeline.record import recorded


def fit_blackbody(*, amplitude_max: float, figure: Path, output: Path) -> None:
    """Fit temperature, mu and y to the FIRAS monopole in closed form; the record and its figure.

    Parameters
    ----------
    amplitude_max
        Flat prior of mu and y.
    figure
        Where the figure goes (PNG); PDF and CSV are written beside it.
    output
        Where the record goes (JSON).
    """
    given = recorded(locals())
    mpl.use("Agg")
    data = load_firas()
    fits = [fit_firas(data, p) for p in (("dT", "galaxy"), ("dT", "mu", "galaxy"), ("dT", "y", "galaxy"))]
    shift, error = float(fits[0].values[0]), float(fits[0].errors[0])
    record = {
        "temperature": REFERENCE_TEMPERATURE + shift,
        "temperature_error": (error**2 + CALIBRATION_ERROR**2) ** 0.5,
        "fits": [fit.summary() for fit in fits],
        "published": list(PUBLISHED),
        "table": blackbody_table(amplitude_max, data),
    }
    save_figure(plot_firas(data, fits[1:]), figure.with_suffix(""), firas_table(data, fits[1:]))
    write_json(output, record)
    publish_record(output, settings=given)
