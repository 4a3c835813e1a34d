from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record
from cmbfit.sky import Beam
from cmbfit.survey.fields import write_beam_table
from pipeline.record import recorded


def gaussian_beam(*, fwhm_arcmin: float, lmax: int, output: Path) -> None:
    """Publish a Gaussian beam without pixel window as a text table: that of joined channels.

    Parameters
    ----------
    fwhm_arcmin
        Of the Gaussian beam.
    lmax
        Highest multipole.
    output
        Where the table goes (text).
    """
    given = recorded(locals())
    write_beam_table(output, Beam.gaussian(lmax, fwhm_arcmin))
    publish_record(output, settings=given)
