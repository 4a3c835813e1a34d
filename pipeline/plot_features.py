"""Plot the search for oscillations: periodograms and the distribution of the largest improvement."""

from __future__ import annotations

from cmbfit.figures.look_elsewhere import look_elsewhere_table, plot_look_elsewhere
from pipeline.plot_records import plot_records
from pipeline.run_stage import run_stage


def main() -> None:
    """Plot, publish."""
    plot_records(
        __doc__,
        plot_look_elsewhere,
        lambda _, curves: look_elsewhere_table(curves),
        search="product of search_features",
        curves="the same",
    )


if __name__ == "__main__":
    run_stage(main)
