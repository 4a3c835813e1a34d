"""Plot published rotation angles and the posterior of a run's own spectra."""

from __future__ import annotations

from cmbfit.figures.birefringence import birefringence_table, plot_birefringence
from pipeline.plot_records import plot_records
from pipeline.run_stage import run_stage


def main() -> None:
    """Plot, publish."""
    plot_records(
        __doc__,
        plot_birefringence,
        lambda _, curves: birefringence_table(curves),
        rotation="product of fit_rotation",
        curves="the same",
    )


if __name__ == "__main__":
    run_stage(main)
