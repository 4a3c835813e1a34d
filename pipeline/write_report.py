from __future__ import annotations

from pathlib import Path

from cmbfit.io import read_json, write_text
from cmbfit.report.costs import read_costs
from cmbfit.report.page import render


def write_report(*, summary: Path, figures: Path, benchmarks: Path, output: Path) -> None:
    """Write the reviewer's page: one self-contained HTML file.

    Parameters
    ----------
    summary
        The run's summary (write_summary).
    figures
        JSON: the page's figures (PNG).
    benchmarks
        Folder of Snakemake's benchmark files.
    output
        Where the page goes (HTML).
    """
    write_text(output, render(read_json(summary), read_json(figures), read_costs(benchmarks)))
