"""``cmbfit profile``: a profile likelihood of one parameter of a fit, beside its marginal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmbfit.blinded import mark_folder
from cmbfit.cli.words import AllowCodeOption, ConfigOption, TransferOption, say
from cmbfit.io import write_json

if TYPE_CHECKING:
    from cmbfit.likelihood.posterior import Posterior


def profile(
    parameter: Annotated[str, typer.Argument(help="Of the fit: ns, tau, A_planck, ...")],
    config: Annotated[
        str, typer.Argument(help="A run's configuration: a YAML file, or a shipped one's name.")
    ] = "default",
    fit: Annotated[str | None, typer.Option(help="Name of the fit; default: the first of run.fits.")] = None,
    low: Annotated[float | None, typer.Option(help="Lower end; default 4.5 sigma from the best fit.")] = None,
    high: Annotated[float | None, typer.Option(help="Upper end.")] = None,
    points: Annotated[int, typer.Option(help="Values on the grid.")] = 41,
    starts: Annotated[int, typer.Option(help="Of the optimiser at each value.")] = 4,
    skies: Annotated[
        int, typer.Option(help="Simulated data at each of 21 values, for Feldman-Cousins intervals; 0: none.")
    ] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for profile_PARAMETER.*.")] = Path(
        "profiles"
    ),
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    transfer: TransferOption = None,
    changes: ConfigOption = None,
    allow_code: AllowCodeOption = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Profile likelihood of a parameter: the best fit at each value, beside the marginal.

    Flat priors are walls here and nothing else; Gaussian priors of other parameters count as measurements. The marginal
    comes from tempering. Writes profile_PARAMETER.json, .csv, .png and .pdf and prints the intervals by Wilks's theorem and, with
    --skies, those of Feldman and Cousins.

    Example: cmbfit profile ns
    """
    from cmbfit.cli.fit import read_fit  # noqa: PLC0415

    run, chosen = read_fit(config, changes, fit, transfer=transfer)
    import numpy as np  # noqa: PLC0415 (torch and matplotlib: not for --help)

    from cmbfit.figures.profile import plot_profile  # noqa: PLC0415
    from cmbfit.figures.style import save_figure  # noqa: PLC0415
    from cmbfit.fit.build import build_posterior, start_point  # noqa: PLC0415
    from cmbfit.inference.feldman_cousins import Skies, feldman_cousins  # noqa: PLC0415
    from cmbfit.inference.profile import profile as compute  # noqa: PLC0415
    from cmbfit.io import provenance  # noqa: PLC0415

    posterior = build_posterior(chosen, device or run.device)
    experiment = Skies(posterior) if skies else None  # refused before the work
    rng = np.random.default_rng([run.seed, 19])
    found = compute(
        posterior,
        parameter,
        *start_point(chosen, posterior),
        rng,
        low=low,
        high=high,
        n=points,
        starts=starts,
    )
    record = found.record()
    say(f"{parameter} best {record['best'][parameter]:.6g}; chi2 relative to it, all others refitted")
    for level, interval in record["intervals"].items():
        say(f"{level}% by Wilks: {_words(interval)}")
    if experiment is not None:
        walls = np.array([posterior.support[p] for p in posterior.parameters]).T
        confidence = feldman_cousins(
            experiment, found, (walls[0], walls[1]), found.covariance, rng, skies=skies
        )
        record["confidence"] = confidence.record()
        for level in confidence.critical:
            say(
                f"{level}% by Feldman and Cousins, {skies} skies a value: {_words(confidence.interval(level))}"
            )
    record["marginal"] = _marginal(posterior, parameter, run.seed)
    mark_folder(output, run.blinding)
    stem = output / f"profile_{parameter}"
    about = {"fit": chosen.name, "priors": {p: x.describe() for p, x in posterior.priors.items()}}
    write_json(
        stem.with_suffix(".json"),
        {**about, **record, "provenance": provenance(settings=posterior.settings())},
    )
    columns = {parameter: found.values, "delta_chi2": found.delta_chi2, "agreed": found.agreed}
    save_figure(plot_profile(record), stem, columns)
    say(f"wrote {stem}.json, .csv, .png and .pdf")


def _words(interval: Any) -> str:
    low, high = interval
    if low is None and high is None:
        return "none within the grid"
    return f"{'below the grid' if low is None else f'{low:.6g}'} to {'above the grid' if high is None else f'{high:.6g}'}"


def _marginal(posterior: Posterior, parameter: str, seed: int) -> dict[str, list[float]] | None:
    """Return the marginal density by tempering, its highest value 1; None where tempering refuses."""
    import numpy as np  # noqa: PLC0415
    from scipy.stats import gaussian_kde  # noqa: PLC0415

    from cmbfit.errors import SamplerError  # noqa: PLC0415
    from cmbfit.inference.tempered import TemperedSettings, run_tempered  # noqa: PLC0415

    try:
        drawn = run_tempered(posterior, TemperedSettings(), seed)
    except SamplerError as error:
        say(f"no marginal: {error}")
        return None
    x = drawn.points[:, posterior.parameters.index(parameter)]
    low, high = posterior.support[parameter]
    grid = np.linspace(max(low, x.min()), min(high, x.max()), 300)
    # reflected at the walls, where a kernel would leave half of its mass outside
    kernel = gaussian_kde(x, weights=drawn.weights)
    density = kernel(grid) + sum(kernel(2 * wall - grid) for wall in (low, high) if np.isfinite(wall))
    return {"values": grid.tolist(), "density": (density / density.max()).tolist()}
