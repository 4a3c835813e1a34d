"""Plot the search for the emulator's polynomials and its learning curve."""

from __future__ import annotations

from cmbfit.figures.training import plot_search, search_table
from pipeline.plot_records import plot_records
from pipeline.run_stage import run_stage


def main() -> None:
    """Plot, publish."""
    plot_records(__doc__, plot_search, search_table, search="product of search_emulator")


if __name__ == "__main__":
    run_stage(main)
