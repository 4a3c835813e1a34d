"""``cmbfit report``: finished fits side by side, in one offline page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmbfit.blinded import mark_folder
from cmbfit.cli.words import say
from cmbfit.errors import DataError, unknown_name
from cmbfit.io import read_json, write_json, write_text

_CORNER = 7
"""Parameters of the triangle where none are named."""


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of finished runs (results/NAME, fits/NAME); the first fit is the reference."
        ),
    ],
    fit: Annotated[list[str] | None, typer.Option(help="A fit; repeat. Default: all of all runs.")] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(help="A parameter of the figures; repeat. Default: those all fits sampled."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = Path("compared"),
) -> None:
    """Compare finished fits: parameters in sigma of their expected scatter, chi2 by data set, settings that differ.

    Writes index.html (figures inside), shifts.json, and the figures as png, pdf and csv. Nothing is fitted again.

    Example: cmbfit report results/default fits/mine -o compared
    """
    from cmbfit.figures.compared import plot_corners, plot_whiskers  # noqa: PLC0415 (seconds of imports)
    from cmbfit.figures.posterior import marginal_table  # noqa: PLC0415
    from cmbfit.figures.style import save_figure  # noqa: PLC0415
    from cmbfit.report.compared import differences, page, read_columns, shifts  # noqa: PLC0415

    columns = read_columns(runs, fit or ())
    mark_folder(output, read_json(columns[0].folder / "summary.json").get("blinding"))
    samples = {c.label: c.samples for c in columns}
    known = list(dict.fromkeys(p for s in samples.values() for p in s.names))
    common = [p for p in known if all(p in s.names for s in samples.values())]
    if unknown := [p for p in show or () if p not in common]:
        raise DataError(unknown_name("parameter of all fits", unknown[0], common))
    chosen = (
        show or [p for p in common if p in columns[0].samples.names[: columns[0].samples.n_sampled]][:_CORNER]
    )
    if not chosen:
        raise DataError("the fits have no parameter in common: name those to show (--show)")
    found = shifts(columns)
    corner = output / "compared_corner"
    save_figure(plot_corners(samples, chosen), corner, marginal_table(columns[0].samples, chosen, {}))
    whiskers = [p for p in dict.fromkeys([*chosen, "H0", "sigma8"]) if p in common]
    figure, table = plot_whiskers(samples, whiskers, found)
    save_figure(figure, output / "compared_shifts", table)
    names = [p for p in known if sum(p in s.names for s in samples.values()) > 1] or known
    write_text(
        output / "index.html", page(columns, names, [Path(f"{corner}.png"), output / "compared_shifts.png"])
    )
    write_json(
        output / "shifts.json",
        {
            "reference": columns[0].label,
            "shifts": {c.label: s.record() for c, s in zip(columns[1:], found, strict=True)},
            "differences": [{"setting": place, "values": values} for place, values in differences(columns)],
        },
    )
    for c, s in zip(columns[1:], found, strict=True):
        joint = (
            ""
            if s.pte is None
            else f"; chi2 {s.chi2:.2f} in {s.directions} direction{'s' * (s.directions > 1)}, PTE {s.pte:.3f}"
        )
        say(f"{c.label} against {columns[0].label} ({s.relation}){joint}")
    say(f"wrote {output / 'index.html'}")
