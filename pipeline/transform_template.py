from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.io import publish_record
from cmbfit.sky import read_mask_product
from cmbfit.sky.cleaning import regressor
from cmbfit.spectra.transforms import masked_alms
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import mask_label, read_alms, write_alms
from pipeline.record import recorded


def transform_template(
    *,
    own: Path,
    template: Path,
    beam: Path,
    masks: list[Path],
    lmax: int,
    output: Path,
    without_cmb: bool = False,
    iterations: int = 0,
) -> None:
    """Publish the masked coefficients of what a template's coefficient multiplies in one split of a field.

    Parameters
    ----------
    own
        Product of transform_sky, of the field.
    template
        Product of transform_sky, of the template.
    beam
        Product of prepare_beam, of the field.
    masks
        Products of prepare_survey_mask: of the field's T, and of Q and U where they have their own.
    lmax
        Highest multipole.
    output
        Where the coefficients go (HDF5).
    without_cmb
        The template is no map of the sky.
    iterations
        Of the transforms.
    """
    given = recorded(locals())
    # a template has no I: its mask is that of Q and U
    mask = read_mask_product(masks[-1], name="mask")
    sky, shape = read_alms(own), read_alms(template)
    made = regressor(
        np.stack([shape.e, shape.b]),
        None if without_cmb else np.stack([sky.e, sky.b]),
        read_beam_table(beam),
        mask.nside,
        mask.coord,
        "template",
    )
    write_alms(output, masked_alms(made, mask, lmax, iterations), mask_label(*map(str, masks)))
    publish_record(output, inputs=[own, template, beam, *masks], settings=given)
