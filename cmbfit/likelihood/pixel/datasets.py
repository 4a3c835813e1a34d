"""The data sets that this package makes, by the `kind` of their ``dataset.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info, refuse_idle
from cmbfit.likelihood.pixel.bandpowers import LowlBandpowers
from cmbfit.likelihood.pixel.likelihood import PixelLikelihood
from cmbfit.likelihood.pixel.summary import HarmonicSummary
from cmbfit.likelihood.pixel.wmap7 import fiducial_spectra, lowl_sky, read_wmap7
from cmbfit.likelihood.pixel.wmap9 import WmapLowlPolarisation, read_wmap9_lowl


@cache
def _wmap7_summary() -> HarmonicSummary:
    """Return the sums over the WMAP7 pixels: seconds of work that data sets of one process share."""
    sky = lowl_sky(*read_wmap7())
    return sky.likelihood(DataSetInfo("wmap7", "", {}, 0, ""), fiducial_spectra()).summary


def wmap7_likelihood(
    info: DataSetInfo, form: str, files: Mapping[str, str] | None = None
) -> PixelLikelihood | LowlBandpowers:
    """Return the low-l TT likelihood of the registered WMAP7 maps.

    Parameters
    ----------
    form : str
        ``pixels``, exact; or ``bandpowers``, fast.
    """
    if form not in ("pixels", "bandpowers"):
        raise LikelihoodError(f"{info.name}: form {form!r}, expected pixels or bandpowers")
    summary = _wmap7_summary()
    pixels = PixelLikelihood(info, summary, {"tt": (summary.lmin, summary.lmax)}, files=files)
    return pixels if form == "pixels" else LowlBandpowers(info, pixels, fiducial_spectra())


def wmap9_likelihood(
    info: DataSetInfo, archive: bytes, files: Mapping[str, str] | None = None
) -> WmapLowlPolarisation:
    """Return the WMAP9 low-l polarisation likelihood of the released archive."""
    return WmapLowlPolarisation(info, read_wmap9_lowl(archive), files)


def read_wmap7_pixels(source: Source, options: Options) -> Likelihood:
    """Return the low-l TT likelihood of WMAP7 in the ``form`` that ``dataset.yaml`` names."""
    info = data_set_info(source, 0, options.without_cuts(source.name))
    refuse_idle(info, ())
    return wmap7_likelihood(info, source.spec["form"], source.sums)


def read_wmap9_polarisation(source: Source, options: Options) -> Likelihood:
    """Return the low-l polarisation likelihood of WMAP9's archive."""
    info = data_set_info(source, 0, options.without_cuts(source.name))
    refuse_idle(info, ())
    (archive,) = source.files.values()
    return wmap9_likelihood(info, archive, source.sums)
