from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.errors import ConfigError
from cmbfit.io import publish_record, require_sha256, write_json
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.pixel.analysis import analyse, band_amplitudes, lowl_checks
from cmbfit.likelihood.pixel.wmap7 import lowl_sky
from cmbfit.sky import read_mask, read_stokes
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.textfile import read_arrays
from pipeline.record import recorded


def prepare_lowl(
    *,
    map_v: Path,
    map_w: Path,
    mask: Path,
    sha256: tuple[str, str, str],
    fiducial: Path,
    output: Path,
    checks: Path,
    unit: str | None = None,
    coord: str | None = None,
    published: str = "planck2018_lowl_tt_2bin",
) -> None:
    """Low-l TT of two bands' maps: power by multipole, goodness of fit and the cleaned map, with checks.

    Parameters
    ----------
    map_v
        HEALPix FITS, WMAP V band.
    map_w
        HEALPix FITS, WMAP W band.
    mask
        HEALPix FITS.
    sha256
        What the three files must be.
    fiducial
        Table of D_l (uK^2): ell tt te ee bb ...
    output
        Where the record goes (JSON).
    checks
        Where the checks go (JSON).
    unit
        K, mK, uK, ... where the files do not say.
    coord
        G, C or E where the files do not say.
    published
        TT data set to compare with.
    """
    given = recorded(locals())
    for path, expected in zip((map_v, map_w, mask), sha256, strict=True):
        require_sha256(path, expected)
    v, w = (
        read_stokes(path, name=name, unit=unit, coord=coord) for path, name in ((map_v, "V"), (map_w, "W"))
    )
    sky = lowl_sky(v, w, read_mask(mask, name="mask", coord=coord))
    theory = Spectra({"tt": torch.from_numpy(read_arrays(fiducial)["tt"])[None]})
    info = DataSetInfo("lowl", "low-l TT", {"wmap": {"tt": (sky.settings.lmin, sky.settings.lmax)}}, 0, "")
    record = analyse(sky, sky.likelihood(info, theory), theory)
    reference = load_likelihood(published)
    if not isinstance(reference, GaussianBandpowers):
        raise ConfigError(f"prepare_lowl: expected a data set of bandpowers, found {published}")
    record["published"] = {
        "label": reference.info.title,
        "bins": band_amplitudes(reference, theory.dl["tt"][0].numpy()),
    }
    write_json(output, record)
    tests = lowl_checks(record, record["published"]["bins"], reference.info.title)
    write_json(checks, {"checks": tests})
    publish_record(output, inputs=[map_v, map_w, mask, fiducial], settings=given)
