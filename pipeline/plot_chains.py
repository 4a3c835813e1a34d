"""Plot traces and autocorrelation times of a fit's ensembles."""

from __future__ import annotations

import argparse

from cmbfit.figures.chains import plot_traces, trace_table
from cmbfit.figures.style import save_figure
from cmbfit.inference.products import read_chain
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chains", nargs="+", required=True)
    parser.add_argument("--tau-multiple", type=float, required=True)
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    chains = [read_chain(path)[0] for path in args.chains]
    save_figure(plot_traces(chains, args.tau_multiple), args.output, trace_table(chains))


if __name__ == "__main__":
    run_stage(main)
