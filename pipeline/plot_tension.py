"""Plot pairs of data sets against each other, with the table as CSV."""

from __future__ import annotations

from cmbfit.figures.tension import plot_tensions, tension_table
from pipeline.plot_records import plot_records
from pipeline.run_stage import run_stage


def main() -> None:
    """Plot, publish."""
    plot_records(
        __doc__,
        lambda record: plot_tensions(record["pairs"]),
        lambda record: tension_table(record["pairs"]),
        tension="product of measure_tension",
    )


if __name__ == "__main__":
    run_stage(main)
