from __future__ import annotations

from pathlib import Path

from cmbfit.io import write_json
from cmbfit.spectra import check_bandpowers, read_spectra
from cmbfit.spectra.checks import SIGNAL
from cmbfit.theory.textfile import read_arrays


def check_spectra(
    *, spectra: Path, theory: Path, output: Path, signal: list[str] | None = None, remark: str = ""
) -> None:
    """Check a spectrum product against a theory and for nulls; the outcome is a file, the exit code is 0.

    Parameters
    ----------
    spectra
        Product of estimate_spectra.
    theory
        Table of D_l (uK^2): ell tt te ee bb ...
    output
        Where the checks go (JSON).
    signal
        Spectra compared with the theory.
    remark
        What a reader should know of the maps.
    """
    checks = check_bandpowers(
        read_spectra(spectra), read_arrays(theory), signal=signal or SIGNAL, remark=remark
    )
    write_json(output, {"checks": checks})
