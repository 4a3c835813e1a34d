"""Cleaning I or Q, U with foreground templates, with the uncertainty that the fit leaves in the map.

A template made from a sky map (WMAP K band, Planck 30 or 353 GHz) holds the CMB as well. Subtracting
a t takes the fraction a of the CMB away, so the cleaned map is (Page et al. 2007, astro-ph/0603450, and
the Planck low-l likelihood, arXiv:1907.12875)

    m' = (m - sum_k a_k t_k) / (1 - sum_(k with CMB) a_k),

which has the CMB with weight one again. Fitting a directly by least squares of m on t is biased: the
CMB is in both and pulls a towards 1. Writing a_k = b_k / (1 + B), B = sum of b_k with CMB, gives the same

    m' = m - sum_(k with CMB) b_k (t_k - m) - sum_(k without) b_k t_k,

linear in b, with regressors that hold no CMB. The b are fitted (:mod:`cmbfit.sky.template_fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.harmonic import common_nside
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.sky.preprocess import require_data
from cmbfit.sky.template_fit import TemplateFit, fit_regressors


@dataclass(frozen=True, eq=False)
class Template:
    """A foreground template.

    Attributes
    ----------
    stokes : StokesMap
        uK_CMB (or any unit for one without CMB: the coefficient carries it), at the map's resolution.
    has_cmb : bool
        True for a template that is a sky map in uK_CMB.
    variance : ndarray, shape (npix,), (n_stokes, npix) or a number
        Noise variance in uK^2; 0 for a model template.
    """

    stokes: StokesMap
    has_cmb: bool
    variance: Array | float = 0.0


def _rows(stokes: StokesMap, fields: str) -> Array:
    return np.stack([getattr(stokes, f) for f in fields.lower()])


def _variances(values: Array | float, n: int, npix: int, what: str) -> Array:
    try:
        out = np.broadcast_to(np.asarray(values, dtype=np.float64), (n, npix))
    except ValueError as error:
        raise MapError(f"{what}: variance of shape {np.shape(values)}, expected ({n}, {npix})") from error
    return out


def _regressors(stokes: StokesMap, templates: Sequence[Template], fields: str) -> Array:
    """Return t - m for templates with CMB and t for others, shape (k, n_fields, npix)."""
    m = _rows(stokes, fields)
    return np.stack([_rows(t.stokes, fields) - (m if t.has_cmb else 0.0) for t in templates])


def fit_templates(
    stokes: StokesMap,
    templates: Sequence[Template],
    mask: Mask,
    variance: Array | float,
    *,
    fields: str = "QU",
    cmb_covariance: Array | float = 0.0,
) -> TemplateFit:
    """Fit template coefficients by generalised least squares under a mask.

    Parameters
    ----------
    variance : ndarray or float
        Noise variance of the map in uK^2, shape (npix,) or (n_fields, npix).
    fields : {"QU", "I"}
        One coefficient per template for Q and U together; for I a constant is fitted along with the
        templates (their zero levels are unknown) and discarded.
    cmb_covariance : ndarray or float
        What the CMB adds to the error of the fit: a variance per pixel (uK^2), or the full pixel
        covariance (n, n) over fields x kept pixels (fields-major). Only the full matrix knows that CMB
        fluctuations are correlated between pixels; with a variance the coefficients are unbiased all
        the same but their errors come out too small.

    Raises
    ------
    MapError
        When shapes, nside or coordinates differ, variances are not positive, pixels under the mask
        have no data, or templates are degenerate.
    """
    if fields not in {"QU", "I"}:
        raise MapError(f"template fit: fields {fields!r}, expected 'QU' or 'I'")
    if not templates:
        raise MapError("template fit: no template given")
    common_nside([stokes, *(t.stokes for t in templates)], "template fit")
    for s in (stokes, *(t.stokes for t in templates)):
        require_data(s, mask)
    keep, n, npix = mask.support, len(fields), stokes.i.size
    noise_m = _variances(variance, n, npix, "template fit")[:, keep].ravel()
    noise_t = [
        _variances(t.variance, n, npix, t.stokes.name or "template")[:, keep].ravel() for t in templates
    ]
    if not (noise_m > 0).all() or not all((v >= 0).all() for v in noise_t):
        raise MapError("template fit: the map's noise variance must be above zero under the mask")
    y = _rows(stokes, fields)[:, keep].ravel()
    x = _regressors(stokes, templates, fields)[:, :, keep].reshape(len(templates), -1)
    nuisance = None
    if fields == "I":  # centring first keeps a large offset from spoiling the arithmetic
        x, y, nuisance = x - x.mean(axis=1, keepdims=True), y - y.mean(), np.ones((1, y.size))
    cmb = np.asarray(cmb_covariance, dtype=np.float64)
    if cmb.shape != (y.size, y.size):
        cmb = _variances(cmb, n, npix, "CMB")[:, keep].ravel()
    names = [t.stokes.name for t in templates]
    return fit_regressors(y, x, [t.has_cmb for t in templates], noise_m, noise_t, cmb, names, nuisance)


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A cleaned map and what the cleaning did to its noise.

    Attributes
    ----------
    stokes : StokesMap
    variance : ndarray, shape (n_fields, npix)
        Noise variance of the cleaned map, (N_m + sum a^2 N_t) / (1 - sum a)^2, in uK^2.
    factor : ndarray, shape (k, n_fields, npix)
        F with F^T F the covariance added by the error of the coefficients: sum over k of
        F_k(p) F_k(p'). Add it to the pixel covariance as it is, rank k.
    """

    stokes: StokesMap
    variance: Array
    factor: Array


def clean(
    stokes: StokesMap,
    templates: Sequence[Template],
    fit: TemplateFit,
    variance: Array | float,
    fields: str = "QU",
) -> Cleaned:
    """Return (m - sum a t) / (1 - sum a) with its noise variance and the coefficients' covariance term.

    Zero levels are not fitted: after cleaning I, remove its monopole and dipole again.

    The low-rank term is exact to first order, sigma_b^2 (t - m)(t - m)^T for a template with CMB. Where
    foregrounds dominate the template this is the usual sigma_a^2 t t^T / (1 - a)^2, since t - m =
    (t - m') (1 - a) and sigma_b = sigma_a / (1 - a)^2; it leaves out the CMB that t and m' share.
    """
    if fit.b.size != len(templates):
        raise MapError(f"clean: {fit.b.size} coefficients for {len(templates)} templates")
    common_nside([stokes, *(t.stokes for t in templates)], "clean")
    n, npix = len(fields), stokes.i.size
    x = _regressors(stokes, templates, fields)
    out = _rows(stokes, fields) - np.tensordot(fit.b, x, axes=1)
    shared = np.array([t.has_cmb for t in templates], dtype=np.float64)
    total = (1 + shared @ fit.b) ** 2 * _variances(variance, n, npix, "clean")
    for b, t in zip(fit.b, templates, strict=True):
        total = total + b**2 * _variances(t.variance, n, npix, "clean")
    values, vectors = np.linalg.eigh(fit.covariance_b)
    root = vectors * np.sqrt(np.clip(values, 0, None))  # root root^T = covariance
    record: dict[str, Any] = {
        "step": "clean with templates",
        "fields": fields,
        "templates": list(fit.names),
        "templates_with_cmb": [bool(t.has_cmb) for t in templates],
        "coefficients": fit.a.tolist(),
        "covariance": fit.covariance_a.tolist(),
        "reduced_chi2": fit.reduced_chi2,
    }
    changed = dict(zip(fields.lower(), out, strict=True))
    return Cleaned(
        stokes=stokes.step(record, **changed),
        variance=total,
        factor=np.tensordot(root.T, x, axes=1),
    )
