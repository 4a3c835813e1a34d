"""Plot a spectrum product against a theory."""

from __future__ import annotations

import argparse

from cmbfit.figures.spectra import plot_spectra, spectra_table
from cmbfit.figures.style import save_figure
from cmbfit.spectra import read_spectra
from cmbfit.spectra.checks import SIGNAL
from cmbfit.theory.textfile import read_arrays
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spectra", required=True, help="product of estimate_spectra")
    parser.add_argument("--theory", required=True, help="table of D_l (uK^2): ell tt te ee bb ...")
    parser.add_argument("--signal", nargs="+", default=list(SIGNAL), help="spectra compared with the theory")
    parser.add_argument("--label", default="fiducial theory")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    data, theory = read_spectra(args.spectra).combined(), read_arrays(args.theory)
    save_figure(
        plot_spectra(data, theory, args.label, args.signal),
        args.output,
        spectra_table(data, theory, args.signal),
    )


if __name__ == "__main__":
    run_stage(main)
