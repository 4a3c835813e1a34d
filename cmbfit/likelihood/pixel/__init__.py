"""Exact Gaussian likelihood of low-resolution maps of I, Q and U.

In data-flow order: `harmonics` (modes on pixels), `noise`, `summary` (sums over pixels, marginalisation),
`blocks` (spectra), `likelihood`, `compressed`, `estimate`; `build` starts from maps and masks; `wmap7` and
`wmap9` are the two public data sets.
"""

from cmbfit.likelihood.pixel.build import pixel_likelihood, signal_covariance
from cmbfit.likelihood.pixel.compressed import CompressedPixelLikelihood
from cmbfit.likelihood.pixel.estimate import quadratic_estimate, slice_log_prob
from cmbfit.likelihood.pixel.likelihood import PixelLikelihood
from cmbfit.likelihood.pixel.noise import dense_noise, inverse_noise, regularise, white_noise

__all__ = [
    "CompressedPixelLikelihood",
    "PixelLikelihood",
    "dense_noise",
    "inverse_noise",
    "pixel_likelihood",
    "quadratic_estimate",
    "regularise",
    "signal_covariance",
    "slice_log_prob",
    "white_noise",
]
