"""Plot the comparison of polynomials and networks with the networks' loss curves."""

from __future__ import annotations

from cmbfit.figures.training import emulators_table, plot_emulators
from pipeline.plot_records import plot_records
from pipeline.run_stage import run_stage


def main() -> None:
    """Plot, publish."""
    plot_records(__doc__, plot_emulators, emulators_table, comparison="product of compare_emulators")


if __name__ == "__main__":
    run_stage(main)
