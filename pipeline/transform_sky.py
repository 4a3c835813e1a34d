from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.io import publish_record
from cmbfit.sky import read_product
from cmbfit.sky.cleaning import sky_alm, taper
from cmbfit.spectra.transforms import FieldAlms
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import write_alms
from pipeline.record import recorded


def transform_sky(*, split: Path, beam: Path, window: tuple[int, int], output: Path) -> None:
    """Publish the E and B coefficients of one split at low multipoles, beam divided out: for template cleaning.

    Parameters
    ----------
    split
        Product of prepare_split.
    beam
        Product of prepare_beam.
    window
        Multipoles: full up to, none from.
    output
        Where the coefficients go (HDF5).
    """
    given = recorded(locals())
    e, b = sky_alm(read_product(split, "sky"), read_beam_table(beam), taper(*window))
    write_alms(output, FieldAlms(np.zeros_like(e), e, b, window[1]), "no mask")
    publish_record(output, inputs=[split, beam], settings=given)
