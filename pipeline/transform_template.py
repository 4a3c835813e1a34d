"""Publish the masked coefficients of what a template's coefficient multiplies in one split of a field."""

from __future__ import annotations

import argparse

import numpy as np

from cmbfit.io import publish_record
from cmbfit.sky import read_mask_product
from cmbfit.sky.cleaning import regressor
from cmbfit.spectra.transforms import masked_alms
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import mask_label, read_alms, write_alms
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, transform, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--own", required=True, help="product of transform_sky, of the field")
    parser.add_argument("--template", required=True, help="product of transform_sky, of the template")
    parser.add_argument("--without-cmb", action="store_true", help="the template is no map of the sky")
    parser.add_argument("--beam", required=True, help="product of prepare_beam, of the field")
    parser.add_argument("--mask", required=True, help="product of prepare_survey_mask, of the field")
    parser.add_argument("--mask-p", help="of Q and U; the mask when omitted")
    parser.add_argument("--lmax", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    # a template has no I: its mask is that of Q and U
    mask = read_mask_product(args.mask_p or args.mask, name="mask")
    own, template = (read_alms(path) for path in (args.own, args.template))
    made = regressor(
        np.stack([template.e, template.b]),
        None if args.without_cmb else np.stack([own.e, own.b]),
        read_beam_table(args.beam),
        mask.nside,
        mask.coord,
        "template",
    )
    write_alms(args.output, masked_alms(made, mask, args.lmax), mask_label(args.mask, args.mask_p))
    inputs = [args.own, args.template, args.beam, args.mask, *([args.mask_p] if args.mask_p else [])]
    publish_record(args.output, inputs=inputs, settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
