from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record
from cmbfit.sky import read_mask_product, read_product, remove_monopole_dipole
from cmbfit.spectra.transforms import masked_alms
from cmbfit.survey.products import mask_label, write_alms
from pipeline.record import recorded


def transform_split(
    *, split: Path, masks: list[Path], name: str, lmax: int, output: Path, iterations: int = 0
) -> None:
    """Remove monopole and dipole of one split under the field's mask of T and publish its masked coefficients.

    Parameters
    ----------
    split
        Product of prepare_split.
    masks
        Products of prepare_survey_mask: of T, and of Q and U where they have their own.
    name
        Of the product.
    lmax
        Highest multipole.
    iterations
        Of the transforms.
    output
        Where the coefficients go (HDF5).
    """
    given = recorded(locals())
    mask, *apart = (read_mask_product(path, name="mask") for path in masks)
    mask_p = apart[0] if apart else None
    stokes = remove_monopole_dipole(read_product(split, name), mask)
    alms = masked_alms(stokes, mask, lmax, iterations, mask_p=mask_p)
    write_alms(output, alms, mask_label(*map(str, masks)))
    publish_record(output, inputs=[split, *masks], settings=given, steps=list(stokes.history))
