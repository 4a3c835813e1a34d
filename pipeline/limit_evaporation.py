from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from cmbfit.figures.evaporation import SYSTEMATIC, imprint_table, limits_table, plot_imprint, plot_limits
from cmbfit.figures.style import save_figure
from cmbfit.inference.limits import upper_limit
from cmbfit.inference.products import read_samples
from cmbfit.io import read_json, write_json
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.hawking.published import published_limits, published_table
from cmbfit.theory.hawking.response import FRACTION, response_of


def limit_evaporation(
    *, fits: Path, emulator: Path, figure: Path, imprint_figure: Path, output: Path
) -> None:
    """Limits on evaporating primordial black holes from the fits of all masses, with figures.

    Parameters
    ----------
    fits
        JSON: name, mass_g, samples and summary of each fit.
    emulator
        Manifest of the emulator's bundle.
    figure
        Where the limits' figure goes (PNG); PDF and CSV are written beside it.
    imprint_figure
        Where that of the spectra goes, likewise.
    output
        Where the record goes (JSON).
    """
    limits, given = [], read_json(fits)
    for fit in given:
        samples, record, mass = read_samples(fit["samples"]), read_json(fit["summary"]), fit["mass_g"]
        top = response_of(mass).box[FRACTION][1]
        limit = upper_limit(
            samples.column(FRACTION), top, n_effective=record["convergence"]["effective_samples_min"]
        )
        limits.append({"fit": fit["name"], "mass_g": mass, **asdict(limit)})
    limits.sort(key=lambda entry: entry["mass_g"])
    published = published_table([entry["mass_g"] for entry in limits])
    write_json(
        output, {"parameter": FRACTION, "systematic": SYSTEMATIC, "limits": limits, "published": published}
    )
    save_figure(
        plot_limits(limits, published=published_limits()), figure.with_suffix(""), limits_table(limits)
    )
    point = read_json(given[0]["summary"])["best_fit"]["point"]
    shown = {entry["mass_g"]: entry["flat"] for entry in limits}
    table = imprint_table(load_emulator(emulator.parent), shown, point)
    save_figure(plot_imprint(table, shown), imprint_figure.with_suffix(""), table)
