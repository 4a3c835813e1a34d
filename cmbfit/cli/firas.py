"""``cmbfit firas``: the monopole's spectrum from the command line."""

from __future__ import annotations

import json
from typing import Any

from cmbfit.cli.words import FigureOption, JsonOption, say


def firas(as_json: JsonOption = False, figure: FigureOption = None) -> None:
    """Fit temperature, mu and y to the COBE/FIRAS residuals and print them beside published values.

    T is that of the residual table: dT to 2.725 K from the shape, with the 1 mK of the absolute
    calibration added to its error.

    Example: cmbfit firas --json
    """
    from cmbfit.theory.blackbody.firas import (  # noqa: PLC0415 (scipy is slow to import)
        CALIBRATION_ERROR,
        PUBLISHED,
        REFERENCE_TEMPERATURE,
        fit_firas,
        load_firas,
    )
    from cmbfit.theory.blackbody.law import energy_density, photon_density  # noqa: PLC0415

    data = load_firas()
    fits = [fit_firas(data, p) for p in (("dT", "galaxy"), ("dT", "mu", "galaxy"), ("dT", "y", "galaxy"))]
    shift, error = float(fits[0].values[0]), float(fits[0].errors[0])
    temperature = REFERENCE_TEMPERATURE + shift
    result: dict[str, Any] = {
        "temperature": {
            "value": temperature,
            "error": (error**2 + CALIBRATION_ERROR**2) ** 0.5,
            "unit": "K",
            "photons_per_cm3": photon_density(temperature) * 1e-6,
            "energy_J_per_m3": energy_density(temperature),
        },
        "mu": {
            "value": float(fits[1].values[1]),
            "error": float(fits[1].errors[1]),
            "limit_95": fits[1].upper_limit("mu"),
        },
        "y": {
            "value": float(fits[2].values[1]),
            "error": float(fits[2].errors[1]),
            "limit_95": fits[2].upper_limit("y"),
        },
        "fits": {"+".join(f.parameters): f.summary() for f in fits},
        "published": list(PUBLISHED),
    }
    if figure is not None:
        from cmbfit.figures.firas import firas_table, plot_firas  # noqa: PLC0415 (matplotlib)
        from cmbfit.figures.style import save_figure  # noqa: PLC0415

        save_figure(plot_firas(data, fits[1:]), figure, firas_table(data, fits[1:]))
    if as_json:
        say(json.dumps(result, indent=2))
        return
    t, mu, y = result["temperature"], result["mu"], result["y"]
    say(f"T  = {t['value']:.5f} +- {t['error']:.5f} K (calibration {CALIBRATION_ERROR:g} K included)")
    say(f"     {t['photons_per_cm3']:.1f} photons per cm^3, {t['energy_J_per_m3']:.4g} J/m^3")
    say(f"mu = {mu['value']:.2e} +- {mu['error']:.2e}, |mu| < {mu['limit_95']:.2e} (95%)")
    say(f"y  = {y['value']:.2e} +- {y['error']:.2e}, |y| < {y['limit_95']:.2e} (95%)")
    for fit in fits:
        say(
            f"chi2 = {fit.chi2:.3f} for {fit.dof} degrees of freedom, p = {fit.probability:.3f} ({', '.join(fit.parameters)})"
        )
    for row in PUBLISHED:
        say(f"published: {row['quantity']}: {row['value']} ({row['source']})")
