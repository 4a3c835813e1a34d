"""Template cleaning of Q and U where map and template have different beams and pixels.

The coefficients (:mod:`cmbfit.sky.template_fit`) are fitted on coarse maps of one common resolution.
What is subtracted from a map of beam b_m is

    m'_lm = m_lm - sum_k b_k w_l b_m (t_lm / b_t - m_lm / b_m)      (templates with CMB; without: no m),

w_l = 1 at low l, falling to 0 where the template's beam has lost the sky. The bracket holds no CMB,
so the CMB of m' is that of m at every l, whatever w_l and b_k are: no transfer function, no (1 - a).
Foregrounds remain at the multipoles where w_l is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.sky.beams import Beam, beam_ratio
from cmbfit.sky.harmonic import Alm, alm2map, alm2stokes, alm_size, change_lmax, map2alm, scale_alm
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.sky.quality import fill_missing
from cmbfit.sky.resolution import cosine_window, degrade_mask
from cmbfit.sky.template_fit import TemplateFit, fit_regressors

_LEAST_VARIANCE = 0.03
"""Of a mode that takes part in the fit, over the mean of all: above, half-differences of splits have the modelled noise."""


def taper(start: int, end: int) -> Array:
    """Return w_l: 1 up to `start`, a cosine down to 0 at `end`; shape (end + 1,).

    Examples
    --------
    >>> taper(2, 4).round(2).tolist()
    [1.0, 1.0, 1.0, 0.5, 0.0]
    """
    if not 0 < start < end:
        raise MapError(f"cleaning window from {start} to {end}: expected 0 < start < end")
    ell = np.arange(end + 1)
    return np.where(ell <= start, 1.0, 0.5 * (1 + np.cos(np.pi * (ell - start) / (end - start))))


def sky_alm(stokes: StokesMap, transfer: Beam, window: Array) -> Alm:
    """Return w_l a_lm / b_l of E and B, shape (2, alm_size(lmax)) with lmax = window.size - 1.

    Few missing pixels are filled from their neighbours: the result is used under a mask.
    """
    lmax = window.size - 1
    stokes = fill_missing(stokes)
    nside, qu = stokes.nside, np.stack([stokes.q, stokes.u])
    del stokes  # a nside 2048 map is a gigabyte
    ratio = beam_ratio(transfer, Beam(window, window, window), lmax, floor=1e-2)
    # room above: power beyond the highest multipole of the analysis would fold into the last ones
    top = max(lmax, min(2 * lmax, 2 * nside))
    eb = change_lmax(map2alm(qu, top, 2), lmax)
    return np.stack([scale_alm(a, r) for a, r in zip(eb, ratio.teb[1:], strict=True)])


def regressor(template: Alm, own: Alm | None, transfer: Beam, nside: int, coord: str, name: str) -> StokesMap:
    """Return Q, U of b_m (template - own), I = 0: what a coefficient multiplies.

    Parameters
    ----------
    template, own : ndarray, shape (2, n)
        From :func:`sky_alm` with one window; `own` is None for a template without CMB.
    transfer : Beam
        Beam times pixel window of the map that is cleaned.
    """
    difference = template if own is None else template - own
    scaled = np.stack([scale_alm(a, b) for a, b in zip(difference, transfer.teb[1:], strict=True)])
    q, u = alm2map(scaled, nside, 2)
    return StokesMap(np.zeros(q.size), q, u, coord=coord, name=name)


@dataclass(frozen=True, eq=False)
class Source:
    """A map or a template as the fit takes it.

    Attributes
    ----------
    name : str
    alms : sequence of ndarray, shape (2, n)
        Of each split, from :func:`sky_alm`.
    depth : ndarray
        Relative noise variance per pixel, any nside.
    noise_uk_arcmin : float, optional
        White noise of Q and of U; measured from the splits when omitted.
    transfer : Beam
        That was divided out.
    """

    name: str
    alms: Sequence[Alm]
    depth: Array
    transfer: Beam
    noise_uk_arcmin: float | None = None


def _coarse(alm: Alm, nside: int, coord: str, name: str = "") -> StokesMap:
    lmax = 3 * nside
    window = cosine_window(nside)
    teb = np.zeros((3, alm_size(lmax)), dtype=np.complex128)
    teb[1:] = change_lmax(alm, lmax)
    i, q, u = alm2stokes(np.stack([scale_alm(a, window) for a in teb]), nside)
    return StokesMap(i, q, u, coord=coord, name=name)


def pixel_covariance(cl_e: Array, cl_b: Array, nside: int, keep: NDArray[np.bool_]) -> Array:
    """Return the covariance of Q and U of Gaussian E and B modes.

    Parameters
    ----------
    cl_e, cl_b : ndarray, shape (lmax + 1,)
        uK^2, windows included.
    keep : ndarray of bool, shape (12 nside^2,)

    Returns
    -------
    ndarray, shape (2 k, 2 k)
        uK^2, all kept pixels of Q, then of U.
    """
    lmax = cl_e.size - 1
    rows = []
    for row, cl in enumerate((cl_e, cl_b)):
        for m in range(lmax + 1):
            for part in (1.0,) if m == 0 else (1.0, 1j):
                for ell in range(max(m, 2), lmax + 1):
                    if cl[ell] > 0:
                        alm = np.zeros((2, alm_size(lmax)), dtype=np.complex128)
                        # a complex coefficient has half of its variance in each part
                        amplitude = np.sqrt(cl[ell] / (1 if m == 0 else 2))
                        alm[row, m * (2 * lmax + 1 - m) // 2 + ell] = part * amplitude
                        rows.append(alm2map(alm, nside, 2)[:, keep].ravel())
    modes = np.array(rows)
    return modes.T @ modes


def _cmb(dl_ee: Array, nside: int, keep: NDArray[np.bool_]) -> Array:
    lmax = 3 * nside
    if dl_ee.size <= lmax:
        raise MapError(f"EE theory up to l = {dl_ee.size - 1}, {lmax} is needed")
    cl = np.zeros(lmax + 1)
    ell = np.arange(2, lmax + 1)
    cl[2:] = dl_ee[2 : lmax + 1] * 2 * np.pi / (ell * (ell + 1))
    cl *= cosine_window(nside) ** 2
    return pixel_covariance(cl, np.zeros_like(cl), nside, keep)


def _noise(source: Source, mask: Mask, nside: int) -> Array:
    """Return the noise covariance of Q and U of the mean of splits on the coarse grid, shape (2 k, 2 k).

    White noise before the beam was divided out, so correlated between coarse pixels; its level from the
    scatter of the splits, its distribution over the sky from the depth map.
    """
    keep, lmax = mask.support, 3 * nside
    shape = degrade_mask(Mask(source.depth / source.depth.max(), mask.coord), nside, None).weights[keep]
    shape = np.tile(shape / shape.mean(), 2)
    cl = (cosine_window(nside) / source.transfer.cut(lmax).e.clip(1e-2)) ** 2
    cl[:2] = 0.0
    matrix = pixel_covariance(cl, cl, nside, keep)
    if source.noise_uk_arcmin is not None:
        level = np.radians(source.noise_uk_arcmin / 60) ** 2
    else:
        n = len(source.alms)
        if n < 2:
            raise MapError(
                f"template {source.name!r}: one map, its noise cannot be measured; give noise_uk_arcmin"
            )
        maps = np.array([_coarse(a, nside, mask.coord).iqu[1:, keep].ravel() for a in source.alms])
        scatter = maps.var(axis=0, ddof=1) / n
        level = float(np.sum(scatter) / np.sum(np.diag(matrix) * shape))
    root = np.sqrt(level * shape)
    return matrix * np.outer(root, root)


def _measured_modes(noise: Array) -> Array:
    """Return the eigenvectors of the noise whose variance is not tiny, shape (n, modes).

    Coarse pixels outnumber the modes below the cosine window's end, so the matrix has eigenvalues down to nothing.
    There the true noise, non-uniform before the window, is larger by orders of magnitude than its model, non-uniform
    after it, and least squares would listen to these modes alone.
    """
    values, vectors = np.linalg.eigh(noise)
    return np.asarray(vectors[:, values > _LEAST_VARIANCE * values.mean()])


def fit_coefficients(
    field: Source, templates: Sequence[Source], with_cmb: Sequence[bool], mask: Mask, nside: int, dl_ee: Array
) -> TemplateFit:
    """Fit the templates to the mean of a field's splits at nside `nside` (:mod:`cmbfit.sky.template_fit`).

    With full pixel covariances of the CMB and of all noise: dividing beams out correlates noise between
    coarse pixels.

    Returns
    -------
    TemplateFit
        `sky_response` for the coefficients of :func:`sky_alm`, up to l = 3 nside.

    Raises
    ------
    MapError
        When templates are degenerate or drowned in noise, or a noise level cannot be measured.
    """
    coarse = degrade_mask(mask, nside)
    keep = coarse.support
    shared = np.array(with_cmb, dtype=np.float64)

    def mean_map(source: Source) -> Array:
        return _coarse(np.mean(source.alms, axis=0), nside, mask.coord).iqu[1:, keep].ravel()

    y = mean_map(field)
    x = np.stack([mean_map(t) - cmb * y for t, cmb in zip(templates, shared, strict=True)])
    cmb, noise_m = _cmb(dl_ee, nside, keep), _noise(field, coarse, nside)
    noise_t = [_noise(t, coarse, nside) for t in templates]
    modes = _measured_modes(noise_m)
    noise_m, cmb, *noise_t = (modes.T @ matrix @ modes for matrix in (noise_m, cmb, *noise_t))
    fit = fit_regressors(y @ modes, x @ modes, with_cmb, noise_m, noise_t, cmb, [t.name for t in templates])
    response = []
    for row in fit.response @ modes.T:
        qu = np.zeros((2, keep.size))
        qu[:, keep] = row.reshape(2, -1)
        alm = map2alm(qu, 3 * nside, 2, 0) * (keep.size / (4 * np.pi))
        response.append(scale_alm(alm, cosine_window(nside)))
    return replace(fit, sky_response=np.array(response))
