"""Low-l TT of two bands' maps: power by multipole, goodness of fit and the cleaned map, with checks."""

from __future__ import annotations

import argparse

import torch

from cmbfit.io import publish_record, require_sha256, write_json
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.pixel.analysis import analyse, band_amplitudes, lowl_checks
from cmbfit.likelihood.pixel.wmap7 import lowl_sky
from cmbfit.sky import read_mask, read_stokes
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.textfile import read_arrays
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map-v", required=True, help="HEALPix FITS, WMAP V band")
    parser.add_argument("--map-w", required=True, help="HEALPix FITS, WMAP W band")
    parser.add_argument("--mask", required=True, help="HEALPix FITS")
    parser.add_argument("--sha256", nargs=3, required=True, help="what the three files must be")
    parser.add_argument("--unit", help="K, mK, uK, ... where the files do not say")
    parser.add_argument("--coord", help="G, C or E where the files do not say")
    parser.add_argument("--fiducial", required=True, help="table of D_l (uK^2): ell tt te ee bb ...")
    parser.add_argument("--published", default="planck2018_lowl_tt_2bin", help="TT data set to compare with")
    parser.add_argument("--output", required=True)
    parser.add_argument("--checks", required=True)
    args = parser.parse_args()
    for path, expected in zip((args.map_v, args.map_w, args.mask), args.sha256, strict=True):
        require_sha256(path, expected)
    v, w = (
        read_stokes(path, name=name, unit=args.unit, coord=args.coord)
        for path, name in ((args.map_v, "V"), (args.map_w, "W"))
    )
    sky = lowl_sky(v, w, read_mask(args.mask, name="mask", coord=args.coord))
    fiducial = Spectra({"tt": torch.from_numpy(read_arrays(args.fiducial)["tt"])[None]})
    info = DataSetInfo("lowl", "low-l TT", {"wmap": {"tt": (sky.settings.lmin, sky.settings.lmax)}}, 0, "")
    record = analyse(sky, sky.likelihood(info, fiducial), fiducial)
    published = load_likelihood(args.published)
    assert isinstance(published, GaussianBandpowers)  # noqa: S101
    record["published"] = {
        "label": published.info.title,
        "bins": band_amplitudes(published, fiducial.dl["tt"][0].numpy()),
    }
    write_json(args.output, record)
    checks = lowl_checks(record, record["published"]["bins"], published.info.title)
    write_json(args.checks, {"checks": checks})
    publish_record(
        args.output, inputs=[args.map_v, args.map_w, args.mask, args.fiducial], settings=vars(args)
    )


if __name__ == "__main__":
    run_stage(main)
