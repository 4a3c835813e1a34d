from __future__ import annotations

from pathlib import Path

from cmbfit.figures.spectra import plot_spectra as draw
from cmbfit.figures.spectra import spectra_table
from cmbfit.figures.style import save_figure
from cmbfit.spectra import read_spectra
from cmbfit.spectra.checks import SIGNAL
from cmbfit.theory.textfile import read_arrays


def plot_spectra(
    *,
    spectra: Path,
    theory: Path,
    output: Path,
    signal: list[str] | None = None,
    label: str = "fiducial theory",
) -> None:
    """Plot a spectrum product against a theory.

    Parameters
    ----------
    spectra
        Product of estimate_spectra.
    theory
        Table of D_l (uK^2): ell tt te ee bb ...
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    signal
        Spectra compared with the theory.
    label
        Of the theory.
    """
    data, dl = read_spectra(spectra).combined(), read_arrays(theory)
    chosen = signal or SIGNAL
    save_figure(draw(data, dl, label, chosen), output.with_suffix(""), spectra_table(data, dl, chosen))
