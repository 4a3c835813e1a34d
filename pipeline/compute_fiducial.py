from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record, read_json
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import CambSettings, CambTheory
from cmbfit.theory.textfile import write_spectrum


def compute_fiducial(*, parameters: Path, output: Path, camb: Path | None = None) -> None:
    """Compute the fiducial model's spectra with CAMB.

    Parameters
    ----------
    parameters
        JSON: name to value.
    output
        Where the spectra go (text).
    camb
        JSON: fields of CambSettings.
    """
    point = read_json(parameters)
    physics = read_json(camb) if camb else {}
    theory = CambTheory(CambSettings(**physics))
    spectra = theory.spectra(point_from_values(theory, point))
    write_spectrum(output, spectra)
    derived = {name: value.item() for name, value in spectra.parameters.items()}
    publish_record(output, settings=theory.settings, parameters=derived)
