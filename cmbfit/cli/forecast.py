"""``cmbfit forecast``: the errors that data would give, without sampling."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmbfit.cli.words import AllowCodeOption, ConfigOption, TransferOption, assignments, say
from cmbfit.errors import ConfigError, unknown_name
from cmbfit.io import provenance, write_json

if TYPE_CHECKING:
    from cmbfit.fit.description import Fit
    from cmbfit.inference.fisher import Forecast
    from cmbfit.likelihood.posterior import Posterior

_WORTH_A_WORD = 0.05
"""Errors by which the best fit may lie off the model in silence."""


def forecast(
    config: Annotated[
        str, typer.Argument(help="A run's configuration: a YAML file, or a shipped one's name (forecast).")
    ],
    fit: Annotated[
        list[str] | None, typer.Option(help="A fit of the configuration; repeat. Default: all of run.fits.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="The model at which errors are taken, where it is not the truth of mock data. Repeat for each parameter.",
        ),
    ] = None,
    fix: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A parameter that is known. Repeat for each.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; default forecasts/RUN.")
    ] = None,
    transfer: TransferOption = None,
    changes: ConfigOption = None,
    allow_code: AllowCodeOption = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Print the Fisher errors of fits to mock data (`mock_so_lat_baseline`, `mock_litebird`, your own), or to real ones.

    Writes forecast.json (errors, covariances), forecast.csv with the triangle of all fits (png, pdf), and spectra of the mock data.
    The errors are those of an idealised survey: what each mock leaves out stands in its description and in forecast.json.

    Example: cmbfit forecast forecast --fit so_lat
    """
    from cmbfit.config.load import config_path, load_config, parse_overrides  # noqa: PLC0415 (torch comes later)

    chosen = assignments(values, "--set")
    settings = load_config([config], parse_overrides(changes or []))
    from cmbfit.figures.forecast import plot_forecasts, plot_mock_spectra  # noqa: PLC0415
    from cmbfit.figures.style import save_figure  # noqa: PLC0415
    from cmbfit.fit.build import build_posterior  # noqa: PLC0415
    from cmbfit.fit.run import complete_run  # noqa: PLC0415
    from cmbfit.inference.fisher import forecast as forecast_of  # noqa: PLC0415
    from cmbfit.likelihood.mock import MockSpectra  # noqa: PLC0415

    run = complete_run(settings, fits=fit or None, transfer=transfer)
    folder = output or Path("forecasts") / run.name
    posteriors = {name: build_posterior(f, fold=False) for name, f in run.fits.items()}
    known = {p for posterior in posteriors.values() for p in posterior.parameters}
    for name in (*chosen, *(fix or ())):
        if name not in known:
            raise ConfigError(unknown_name("parameter", name, sorted(known)))
    found: dict[str, Forecast] = {}
    record: dict[str, Any] = {}
    mocks: dict[str, MockSpectra] = {}
    for name, posterior in posteriors.items():
        held = [p for p in fix or () if p in posterior.parameters]
        result = found[name] = forecast_of(posterior, model_of(run.fits[name], posterior, chosen), held)
        mocks |= {x.info.name: x for x in posterior.likelihoods if isinstance(x, MockSpectra)}
        record[name] = _record(run.fits[name], posterior, result, held)
        say(f"{name}: {run.fits[name].title}")
        for parameter, row in record[name]["parameters"].items():
            off = row["shift_sigma"]
            note = f"   (best fit {off:+.2f} sigma from here)" if abs(off) > _WORTH_A_WORD else ""
            say(f"  {parameter:12s} {row['model']:.6g} +- {row['sigma']:.2g}{note}")
    write_json(
        folder / "forecast.json", {"fits": record, "provenance": provenance(inputs=[config_path(config)])}
    )
    figure, table = plot_forecasts(found)
    save_figure(figure, folder / "forecast", table)
    for name, mock in mocks.items():
        figure, table = plot_mock_spectra(mock)
        save_figure(figure, folder / f"spectra_{name}", table)
    say(
        f"wrote {folder / 'forecast.json'}, forecast.csv, forecast.png and the spectra of {len(mocks)} mock data sets"
    )


def model_of(fit: Fit, posterior: Posterior, chosen: Mapping[str, float]) -> dict[str, float]:
    """Return the model at which errors are taken: what is chosen, else the truth of the fit's mock data, else its start.

    A parameter of the theory that the truth does not have takes its value in LCDM.

    Raises
    ------
    ConfigError
        If two mock data sets were made of different truths.
    """
    from cmbfit.fit.build import start_point  # noqa: PLC0415
    from cmbfit.likelihood.mock import MockSpectra  # noqa: PLC0415
    from cmbfit.theory.extensions import EXTENSIONS  # noqa: PLC0415

    out, _ = start_point(fit, posterior)
    mocks = [x for x in posterior.likelihoods if isinstance(x, MockSpectra)]
    for mock in mocks:
        if mock.truth != mocks[0].truth:
            raise ConfigError(
                f"fits.{fit.name}.data: {mocks[0].info.name} and {mock.info.name} were made of different models: one fit has one truth"
            )
    if mocks:
        lcdm = {p: x.default for p, x in EXTENSIONS.items() if x.default is not None} | {"beta": 0.0}
        out |= {p: x for p, x in (lcdm | mocks[0].truth).items() if p in out}
    return out | {p: x for p, x in chosen.items() if p in out}


def _record(fit: Fit, posterior: Posterior, found: Forecast, held: list[str]) -> dict[str, Any]:
    return {
        "title": fit.title,
        "data": {
            x.info.name: {"title": x.info.title, "left_out": x.info.approximation}
            for x in posterior.likelihoods
        },
        "theory": posterior.theory.settings,
        "normal_priors": {p: x["gaussian"] for p, x in fit.priors.items() if "gaussian" in x},
        "fixed": held,
        **found.record(),
    }
