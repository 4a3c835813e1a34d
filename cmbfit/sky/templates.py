"""Cleaning I or Q, U with foreground templates, with the uncertainty that the fit leaves in the map.

A template made from a sky map (WMAP K band, Planck 30 or 353 GHz) holds the CMB as well. Subtracting
a t takes the fraction a of the CMB away, so the cleaned map is (Page et al. 2007, astro-ph/0603450, and
the Planck low-l likelihood, arXiv:1907.12875)

    m' = (m - sum_k a_k t_k) / (1 - sum_(k with CMB) a_k),

which has the CMB with weight one again. Fitting a directly by least squares of m on t is biased: the
CMB is in both and pulls a towards 1. Writing a_k = b_k / (1 + B), B = sum of b_k with CMB, gives the same

    m' = m - sum_(k with CMB) b_k (t_k - m) - sum_(k without) b_k t_k,

linear in b, with regressors that hold no CMB. The b are fitted. Noise in the regressors attenuates
least-squares coefficients too; its known variance is subtracted from the normal equations, and the
covariance of b counts the products of noise that this leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from cmbfit.errors import MapError
from cmbfit.sky.harmonic import common_nside
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.sky.preprocess import require_data


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


@dataclass(frozen=True, eq=False)
class TemplateFit:
    """Coefficients of a template fit.

    Attributes
    ----------
    b, covariance_b : ndarray, shape (k,), (k, k)
        Coefficients of the CMB-free regressors.
    a, covariance_a : ndarray, shape (k,), (k, k)
        Coefficients of (m - sum a t) / (1 - sum a); covariance by linear propagation from b.
    reduced_chi2 : float
        Of the residuals against the noise (and CMB) variance given; far from 1, the errors are not to
        be trusted.
    names : tuple of str
    """

    b: Array
    covariance_b: Array
    a: Array
    covariance_a: Array
    reduced_chi2: float
    names: tuple[str, ...]


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
    k = len(templates)
    shared = np.array([t.has_cmb for t in templates], dtype=np.float64)  # regressors that hold -noise of m
    extra = np.zeros((0, y.size))
    if fields == "I":  # centring first keeps a large offset from spoiling the arithmetic
        x, y, extra = x - x.mean(axis=1, keepdims=True), y - y.mean(), np.ones((1, y.size))
    design = np.concatenate([x, extra])  # (k + 0 or 1, n_data)
    cmb = np.asarray(cmb_covariance, dtype=np.float64)
    full = cmb.shape == (y.size, y.size)
    inverse_covariance = np.zeros((0, 0))
    if full:
        inverse_covariance = cho_solve(cho_factor(cmb + np.diag(noise_m), lower=True), np.eye(y.size))
        weighted, w = design @ inverse_covariance, np.diag(inverse_covariance)
    else:
        cmb = _variances(cmb, n, npix, "CMB")[:, keep].ravel()
        w = 1 / (noise_m + cmb)
        weighted = design * w
    normal, rhs = weighted @ design.T, weighted @ y
    # E[x x^T] and E[x y] hold noise: var(t) on the diagonal, var(m) shared by the regressors t - m
    for i in range(k):
        normal[i, i] -= w @ noise_t[i]
        rhs[i] += shared[i] * (w @ noise_m)
    normal[:k, :k] -= np.outer(shared, shared) * (w @ noise_m)
    size = np.diag(normal)
    if (size <= 0).any() or np.linalg.eigvalsh(normal / np.sqrt(np.outer(size, size)))[0] <= 1e-8:
        raise MapError(
            f"template fit: templates {[t.stokes.name for t in templates]} are degenerate or drowned in noise"
        )
    solution = np.linalg.solve(normal, rhs)
    b = solution[:k]
    gain = 1 + shared @ b
    total = gain**2 * noise_m + sum(b[i] ** 2 * noise_t[i] for i in range(k))
    both = -np.stack([gain * shared[i] * noise_m + b[i] * noise_t[i] for i in range(k)])
    middle = _score_covariance(weighted, total, both, cmb, inverse_covariance if full else w)
    inverse = np.linalg.inv(normal)
    covariance = (inverse @ middle @ inverse)[:k, :k]
    residual = y - solution @ design
    sigma2 = total + (np.diag(cmb) if full else cmb)
    a, jacobian = a_of_b(b, shared)
    return TemplateFit(
        b=b,
        covariance_b=covariance,
        a=a,
        covariance_a=jacobian @ covariance @ jacobian.T,
        reduced_chi2=float(np.mean(residual**2 / sigma2)),
        names=tuple(t.stokes.name for t in templates),
    )


def _score_covariance(weighted: Array, total: Array, both: Array, cmb: Array, inverse: Array) -> Array:
    """Return the covariance of sum_p (W x)_p e_p with e = (1 + B) n_m - sum b n_t + CMB.

    `total` is the noise variance of e and `both` its covariance with the noise in each regressor,
    which adds the products of noise tr(W C_xe W C_xe). `inverse` is W, or its diagonal.
    """
    k = both.shape[0]
    if cmb.ndim == 2:
        out = weighted @ (cmb @ weighted.T + total[:, None] * weighted.T)
        out[:k, :k] += both @ inverse**2 @ both.T
    else:
        out = (weighted * (cmb + total)) @ weighted.T
        out[:k, :k] += (both * inverse) @ (both * inverse).T
    return np.asarray(out, dtype=np.float64)


def a_of_b(b: Array, shared: Array) -> tuple[Array, Array]:
    """Return a = b / (1 + B) and da_i / db_j."""
    scale = 1 + shared @ b
    a = b / scale
    return a, np.eye(b.size) / scale - np.outer(b, shared) / scale**2


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
