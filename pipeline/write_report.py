from __future__ import annotations

from pathlib import Path

from cmbfit.blinded import is_blinded
from cmbfit.io import read_json, write_text
from cmbfit.report.costs import read_costs
from cmbfit.report.latex import latex_table
from cmbfit.report.page import render
from cmbfit.report.readme import write_readme


def write_report(*, summary: Path, figures: Path, benchmarks: Path, output: Path) -> None:
    """Write the reviewer's page, one self-contained HTML file; its parameters in LaTeX; a README of the folder.

    Parameters
    ----------
    summary
        The run's summary (write_summary).
    figures
        JSON: the page's figures (PNG).
    benchmarks
        Folder of Snakemake's benchmark files.
    output
        Where the page goes (HTML); ``parameters.tex`` beside it.
    """
    run = read_json(summary)
    write_text(output, render(run, read_json(figures), read_costs(benchmarks)))
    write_text(output.with_name("parameters.tex"), latex_table(run["fits"], blinded=is_blinded(run)))
    write_readme(output.parent.parent, run)
