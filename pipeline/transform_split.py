"""Remove monopole and dipole of one split under the field's mask of T and publish its masked coefficients."""

from __future__ import annotations

import argparse

from cmbfit.io import publish_record
from cmbfit.sky import read_mask_product, read_product, remove_monopole_dipole
from cmbfit.spectra.transforms import masked_alms
from cmbfit.survey.products import mask_label, write_alms
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, transform, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", required=True, help="product of prepare_split")
    parser.add_argument("--mask", required=True, help="product of prepare_survey_mask")
    parser.add_argument("--mask-p", help="of Q and U; the mask when omitted")
    parser.add_argument("--name", required=True)
    parser.add_argument("--lmax", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    mask = read_mask_product(args.mask, name="mask")
    mask_p = read_mask_product(args.mask_p, name="mask of Q, U") if args.mask_p else None
    stokes = remove_monopole_dipole(read_product(args.split, args.name), mask)
    alms = masked_alms(stokes, mask, args.lmax, mask_p=mask_p)
    write_alms(args.output, alms, mask_label(args.mask, args.mask_p))
    inputs = [args.split, args.mask, *([args.mask_p] if args.mask_p else [])]
    publish_record(args.output, inputs=inputs, settings=vars(args), steps=list(stokes.history))


if __name__ == "__main__":
    run_stage(main)
