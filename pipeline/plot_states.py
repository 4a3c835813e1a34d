"""Plot quanta and entropy of squeezed pairs."""

from __future__ import annotations

from cmbfit.figures.quantum import plot_states, state_table
from pipeline.plot_records import plot_records
from pipeline.run_stage import run_stage


def main() -> None:
    """Plot, publish."""
    plot_records(__doc__, plot_states, state_table, states="product of simulate_states")


if __name__ == "__main__":
    run_stage(main)
