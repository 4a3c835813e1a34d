"""``cmbfit firas``, ``cmbfit hawking`` and ``cmbfit primordial``: the early universe from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FigureOption = Annotated[
    Path | None,
    typer.Option("--figure", metavar="STEM", help="Also publish STEM.png, STEM.pdf and STEM.csv."),
]

primordial_app = typer.Typer(help="Primordial power spectra: what there is, and plots.", no_args_is_help=True)


def firas(as_json: JsonOption = False, figure: FigureOption = None) -> None:
    """Fit temperature, mu and y to the COBE/FIRAS residuals and print them beside published values.

    T is that of the residual table: dT to 2.725 K from the shape, with the 1 mK of the absolute
    calibration added to its error.

    Example: cmbfit firas --json
    """
    from cmbfit.theory.blackbody.firas import (  # noqa: PLC0415 (scipy and emcee are slow to import)
        CALIBRATION_ERROR,
        PUBLISHED,
        REFERENCE_TEMPERATURE,
        fit_firas,
        load_firas,
    )

    data = load_firas()
    fits = [fit_firas(data, p) for p in (("dT", "galaxy"), ("dT", "mu", "galaxy"), ("dT", "y", "galaxy"))]
    shift, error = float(fits[0].values[0]), float(fits[0].errors[0])
    result: dict[str, Any] = {
        "temperature": {
            "value": REFERENCE_TEMPERATURE + shift,
            "error": (error**2 + CALIBRATION_ERROR**2) ** 0.5,
            "unit": "K",
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
        typer.echo(json.dumps(result, indent=2))
        return
    t, mu, y = result["temperature"], result["mu"], result["y"]
    typer.echo(f"T  = {t['value']:.5f} +- {t['error']:.5f} K (calibration {CALIBRATION_ERROR:g} K included)")
    typer.echo(f"mu = {mu['value']:.2e} +- {mu['error']:.2e}, |mu| < {mu['limit_95']:.2e} (95%)")
    typer.echo(f"y  = {y['value']:.2e} +- {y['error']:.2e}, |y| < {y['limit_95']:.2e} (95%)")
    for fit in fits:
        typer.echo(
            f"chi2 = {fit.chi2:.3f} for {fit.dof} degrees of freedom, p = {fit.probability:.3f} ({', '.join(fit.parameters)})"
        )
    for row in PUBLISHED:
        typer.echo(f"published: {row['quantity']}: {row['value']} ({row['source']})")


def hawking(
    mass_g: Annotated[float, typer.Option("--mass-g", metavar="M", help="Mass in grams.")],
    as_json: JsonOption = False,
    figure: FigureOption = None,
) -> None:
    """Print temperature, lifetime and emission of a Schwarzschild black hole of M grams.

    Semiclassical theory, not a measurement: no Hawking radiation has been observed. The lifetime with
    Standard Model particles is given for 1e9 to 1e20 g.

    Example: cmbfit hawking --mass-g 5e14
    """
    from cmbfit.theory.hawking import black_hole, lifetime, rates  # noqa: PLC0415 (torch)
    from cmbfit.theory.hawking.page import page_curve  # noqa: PLC0415

    temperature = black_hole.temperature_kelvin(mass_g)
    fields = {name: rates.emission(name) for name in rates.FIELDS}
    curve = page_curve()
    low, high = lifetime.MASS_RANGE
    result: dict[str, Any] = {
        "mass_g": mass_g,
        "temperature_K": temperature,
        "temperature_GeV": black_hole.temperature_gev(mass_g),
        "horizon_radius_m": black_hole.horizon_radius_m(mass_g),
        "entropy_k_B": black_hole.entropy(mass_g),
        "lifetime_massless_yr": lifetime.lifetime_massless(mass_g),
        "lifetime_standard_model_yr": lifetime.lifetime_standard_model(mass_g)
        if low <= mass_g <= high
        else None,
        "luminosity_M2": {n: f.luminosity for n, f in fields.items()},
        "entropy_ratio": {n: f.entropy_ratio for n, f in fields.items()},
        "page": {
            "entropy_ratio": curve.ratio,
            "time_over_lifetime": curve.page_time,
            "entropy_over_initial": curve.page_entropy,
        },
        "note": "semiclassical; the Page curve assumes unitarity",
    }
    if figure is not None:
        from cmbfit.figures.hawking import emission_table, plot_emission  # noqa: PLC0415 (matplotlib)
        from cmbfit.figures.style import save_figure  # noqa: PLC0415

        save_figure(plot_emission(), figure, emission_table())
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    typer.echo(
        f"T = {temperature:.5g} K = {result['temperature_GeV'] * 1e3:.5g} MeV, horizon {result['horizon_radius_m']:.4g} m"
    )
    typer.echo(f"lifetime {result['lifetime_massless_yr']:.4g} yr (massless fields)")
    if result["lifetime_standard_model_yr"] is not None:
        typer.echo(f"lifetime {result['lifetime_standard_model_yr']:.4g} yr (Standard Model)")
    for name, field in fields.items():
        typer.echo(
            f"{name:9} L M^2 = {field.luminosity:.4e} hbar c^6/G^2, entropy ratio {field.entropy_ratio:.4f}"
        )
    typer.echo(f"Page time {curve.page_time:.4f} of the lifetime ({result['note']})")


@primordial_app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the primordial models: name, parameters, formula."""
    from cmbfit.theory.primordial import MODELS  # noqa: PLC0415 (torch)

    if as_json:
        rows = [
            {
                "name": m.name,
                "kind": m.kind,
                "title": m.title,
                "formula": m.formula,
                "parameters": [
                    {
                        "name": p.name,
                        "default": p.default,
                        "prior": p.prior.describe(),
                        "unit": p.unit,
                        "meaning": p.meaning,
                    }
                    for p in m.parameters
                ],
                "citations": list(m.citations),
                "note": m.note,
            }
            for m in MODELS.values()
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max(len(name) for name in MODELS)
    for model in MODELS.values():
        typer.echo(f"{model.name:{width}}  {model.kind:6}  {' '.join(model.parameter_names)}")
        typer.echo(f"{'':{width}}  {model.formula}")


@primordial_app.command()
def plot(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="STEM", help="Publish STEM.png, .pdf and .csv.")
    ],
    names: Annotated[list[str] | None, typer.Argument(help="Models; default all.")] = None,
) -> None:
    """Plot primordial spectra at their default parameters.

    Example: cmbfit primordial plot cutoff_kinetic bounce_lqc -o spectra
    """
    import numpy as np  # noqa: PLC0415

    from cmbfit.figures.primordial import plot_primordial, primordial_table  # noqa: PLC0415 (matplotlib)
    from cmbfit.figures.style import save_figure  # noqa: PLC0415
    from cmbfit.theory.primordial import MODELS, get_model  # noqa: PLC0415

    models = [get_model(n) for n in names] if names else list(MODELS.values())
    k = np.geomspace(1e-5, 1.0, 600)
    save_figure(plot_primordial(models, k), output, primordial_table(models, k))
    typer.echo(f"wrote {output}.png, .pdf, .csv", err=True)
