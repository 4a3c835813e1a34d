from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from cmbfit.inference.analytic_models import rotation_table
from cmbfit.io import publish_record, write_json
from cmbfit.spectra import read_spectra
from cmbfit.theory.birefringence.bandpowers import BandpowerRotation, rotation_record
from cmbfit.theory.textfile import read_arrays
from pipeline.record import recorded


def fit_rotation(
    *,
    spectra: Path,
    theory: Path,
    pairs: list[Literal["eb", "tb"]],
    calibration_deg: float,
    seed: int,
    output: Path,
    curves: Path,
    simulations: int = 500,
) -> None:
    """Fit the rotation of polarisation to EB and TB of a spectrum product.

    Parameters
    ----------
    spectra
        Product of estimate_spectra.
    theory
        Table of D_l (uK^2): ell tt te ee bb ...
    pairs
        Spectra that are used.
    calibration_deg
        Error of the detectors' angles.
    seed
        Of the random numbers.
    output
        Where the record goes (JSON).
    curves
        The posterior, for the figure.
    simulations
        For the coverage.
    """
    given = recorded(locals())
    likelihood = BandpowerRotation(read_spectra(spectra), read_arrays(theory), pairs)
    rng = np.random.default_rng(seed)
    record = rotation_record(likelihood, calibration_deg, simulations, rng)
    write_json(curves, record.pop("curves"))
    write_json(output, record | {"table": rotation_table(record)})
    publish_record(output, inputs=[spectra, theory], settings=given)
