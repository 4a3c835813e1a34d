"""``cmbfit hawking``: black holes from the command line."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cmbfit.cli.words import FigureOption, JsonOption, say


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
        "mean_energy_M": {n: f.mean_frequency for n, f in fields.items()},
        "lowest_l_share": {n: f.lowest_share for n, f in fields.items()},
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
        say(json.dumps(result, indent=2))
        return
    say(
        f"T = {temperature:.5g} K = {result['temperature_GeV'] * 1e3:.5g} MeV, horizon {result['horizon_radius_m']:.4g} m"
    )
    say(f"lifetime {result['lifetime_massless_yr']:.4g} yr (massless fields)")
    if result["lifetime_standard_model_yr"] is not None:
        say(f"lifetime {result['lifetime_standard_model_yr']:.4g} yr (Standard Model)")
    for name, field in fields.items():
        say(
            f"{name:9} L M^2 = {field.luminosity:.4e} hbar c^6/G^2, mean energy {field.mean_frequency:.4f}/M, "
            f"{field.lowest_share:.1%} of the lowest l, entropy ratio {field.entropy_ratio:.4f}"
        )
    say(f"Page time {curve.page_time:.4f} of the lifetime ({result['note']})")
