"""Remove monopole and dipole of one split under the field's mask and publish its masked coefficients."""

from __future__ import annotations

import argparse

from cmbfit.io import publish_record, sha256_file
from cmbfit.sky import read_mask_product, read_product, remove_monopole_dipole
from cmbfit.spectra.transforms import masked_alms
from cmbfit.survey.products import write_alms
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, transform, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", required=True, help="product of prepare_split")
    parser.add_argument("--mask", required=True, help="product of prepare_survey_mask")
    parser.add_argument("--name", required=True)
    parser.add_argument("--lmax", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    mask = read_mask_product(args.mask, name="mask")
    stokes = remove_monopole_dipole(read_product(args.split, args.name), mask)
    write_alms(args.output, masked_alms(stokes, mask, args.lmax), sha256_file(args.mask))
    publish_record(
        args.output, inputs=[args.split, args.mask], settings=vars(args), steps=list(stokes.history)
    )


if __name__ == "__main__":
    run_stage(main)
