"""Estimate the nine cross-spectra of two prepared maps and publish them as SACC."""

from __future__ import annotations

import argparse

from cmbfit.io import publish_record, require_sha256
from cmbfit.sky import Beam, read_mask_product, read_pixel_window, read_product
from cmbfit.spectra import Bins, Transfer, cross_spectra, write_spectra
from cmbfit.theory.textfile import read_arrays
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, estimate, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map-a", required=True, help="product of prepare_maps")
    parser.add_argument("--map-b", required=True, help="product of prepare_maps")
    parser.add_argument("--name-a", default="V")
    parser.add_argument("--name-b", default="W")
    parser.add_argument("--mask", required=True, help="product of prepare_mask")
    parser.add_argument("--fiducial", required=True, help="table of D_l (uK^2): ell tt te ee bb ...")
    parser.add_argument("--pixel-window", required=True, help="HEALPix pixel_window_n*.fits")
    parser.add_argument("--fwhm-arcmin-a", type=float, required=True)
    parser.add_argument("--fwhm-arcmin-b", type=float, required=True)
    parser.add_argument("--edges", type=int, nargs="+", required=True, help="half-open bins in multipole")
    parser.add_argument("--pixel-window-sha256", help="what the pixel-window file must be")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    require_sha256(args.pixel_window, args.pixel_window_sha256)
    mask = read_mask_product(args.mask, name="mask")
    top = 3 * mask.nside - 1
    window = read_pixel_window(args.pixel_window, top)
    beams = [Beam.gaussian(top, fwhm) for fwhm in (args.fwhm_arcmin_a, args.fwhm_arcmin_b)]
    transfer_a, transfer_b = (Transfer(beam.t * window[0], beam.p * window[1]) for beam in beams)
    estimate = cross_spectra(
        read_product(args.map_a, args.name_a),
        read_product(args.map_b, args.name_b),
        mask,
        bins=Bins(args.edges),
        transfer_a=transfer_a,
        transfer_b=transfer_b,
        fiducial_dl=read_arrays(args.fiducial),
    )
    write_spectra(args.output, estimate, settings=vars(args))
    inputs = [args.map_a, args.map_b, args.mask, args.fiducial, args.pixel_window]
    publish_record(args.output, inputs=inputs, settings=vars(args), facts=dict(estimate.info))


if __name__ == "__main__":
    run_stage(main)
