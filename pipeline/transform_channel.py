from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record
from cmbfit.sky import read_product
from cmbfit.sky.channels import channel_alm
from cmbfit.spectra.transforms import FieldAlms
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import write_alms
from pipeline.record import recorded


def transform_channel(*, split: Path, beam: Path, name: str, lmax: int, output: Path) -> None:
    """Publish the full-sky coefficients of one split of a channel, its T in E taken off: to be joined at one beam.

    Parameters
    ----------
    split
        Product of prepare_split.
    beam
        Product of prepare_beam.
    name
        Of the product.
    lmax
        Highest multipole.
    output
        Where the coefficients go (HDF5).
    """
    given = recorded(locals())
    stokes = read_product(split, name)
    t, e, b = channel_alm(stokes, read_beam_table(beam), lmax)
    write_alms(output, FieldAlms(t, e, b, lmax), "no mask")
    publish_record(output, inputs=[split, beam], settings=given, steps=list(stokes.history))
