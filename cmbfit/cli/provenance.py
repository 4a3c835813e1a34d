"""``cmbfit reproduce`` and ``cmbfit cite``: what a finished run was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmbfit.cli.words import say

Results = Annotated[Path, typer.Argument(metavar="RESULTS_DIR", help="A finished run: results/NAME.")]


def reproduce(
    results: Results,
    checkout: Annotated[
        Path | None, typer.Option(help="Compare with this checkout instead of the one that runs.")
    ] = None,
) -> None:
    """Say how to repeat a run, and whether this checkout would: exit code 1 and names where not.

    Compared are the products with their recorded sha256, the code of every entry point, the
    configuration, the registered data, the emulator and the packages' versions. Other versions alone
    leave results the same up to rounding (exit code 0).

    Example: cmbfit reproduce results/default
    """
    from cmbfit.io import read_json  # noqa: PLC0415 (not for --help)
    from cmbfit.provenance.reproduce import compare, instructions  # noqa: PLC0415

    found = compare(results, checkout)
    for line in instructions(results, read_json(results / "summary.json")):
        say(line)
    for difference in found:
        say(str(difference))
    serious = sum(d.moves_numbers for d in found)
    if serious:
        say(f"this checkout would NOT repeat the run: {serious} differences that may move numbers")
        raise typer.Exit(1)
    rounding = " up to rounding" if found else " exactly, on the same kind of machine"
    say(f"this checkout would repeat the run{rounding}")


def cite(results: Results) -> None:
    """Print BibTeX of the data, models, codes and published values that a run used.

    Example: cmbfit cite results/default > paper.bib
    """
    from cmbfit.io import read_json  # noqa: PLC0415 (not for --help)
    from cmbfit.provenance.citations import bibtex  # noqa: PLC0415

    say(bibtex(read_json(results / "summary.json")).rstrip("\n"))
