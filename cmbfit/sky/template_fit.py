"""The one estimator of template coefficients: generalised least squares with noise in the regressors.

The map is y = sum_k b_k x_k + noise + CMB. A regressor x_k = t_k - y of a template that is a sky map holds no CMB
but the noise of both; one without CMB, x_k = t_k, that of the template. Noise in regressors attenuates
least-squares coefficients: its known covariance is taken off the normal equations, and the covariance
of b counts the products of noise that this leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from cmbfit.errors import MapError
from cmbfit.sky.maps import Array


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
        Of the residuals against the noise (and CMB) covariance given; far from 1, the errors are not to
        be trusted.
    names : tuple of str
    response : ndarray, shape (k, n)
        db / dy: how the coefficients answer to what else is in the map, its CMB for one.
    sky_response : ndarray, shape (k, 2, n), optional
        Coefficients of E and B whose scalar product with those of the map's sky is that change of b.
    """

    b: Array
    covariance_b: Array
    a: Array
    covariance_a: Array
    reduced_chi2: float
    names: tuple[str, ...]
    response: Array
    sky_response: NDArray[np.complex128] | None = None


def a_of_b(b: Array, shared: Array) -> tuple[Array, Array]:
    """Return a = b / (1 + B) and da_i / db_j."""
    scale = 1 + shared @ b
    a = b / scale
    return a, np.eye(b.size) / scale - np.outer(b, shared) / scale**2


def _total(parts: Sequence[Array]) -> Array:
    """Return the sum of covariances, each a matrix or its diagonal."""
    if any(p.ndim == 2 for p in parts):
        parts = [np.diag(p) if p.ndim == 1 else p for p in parts]
    return np.sum(parts, axis=0)


def _inverse(matrix: Array) -> Array:
    if matrix.ndim == 1:
        return 1 / matrix
    return cho_solve(cho_factor(matrix, lower=True), np.eye(len(matrix)))


def _product(w: Array, n: Array) -> Array:
    """Return W N; a diagonal where both are."""
    return w @ n if n.ndim == 2 else w * n


def _trace(w: Array, n: Array) -> float:
    """Return tr(W N)."""
    if n.ndim == 2:
        return float(np.sum(w * n.T))
    return float((w if w.ndim == 1 else np.diag(w)) @ n)


def fit_regressors(
    y: Array,
    x: Array,
    has_cmb: Sequence[bool],
    noise: Array,
    template_noise: Sequence[Array],
    cmb: Array,
    names: Sequence[str],
    nuisance: Array | None = None,
) -> TemplateFit:
    """Fit coefficients of regressors.

    Parameters
    ----------
    y : ndarray, shape (n,)
        The map.
    x : ndarray, shape (k, n)
        t - y for templates with CMB, t for others.
    has_cmb : sequence of bool
    noise, cmb : ndarray, shape (n,) or (n, n)
        Covariance of the map's noise and of the CMB, or its diagonal. Only the full matrix knows that CMB
        fluctuations are correlated between pixels.
    template_noise : sequence of ndarray
        Likewise, of each template.
    nuisance : ndarray, shape (r, n), optional
        Noiseless regressors fitted along and discarded.

    Raises
    ------
    MapError
        When templates are degenerate or drowned in noise.
    """
    k, extra = len(x), np.zeros((0, y.size)) if nuisance is None else nuisance
    design, size = np.concatenate([x, extra]), len(x) + len(extra)
    # of all rows: which hold the map's noise
    shared = np.concatenate([np.asarray(has_cmb, dtype=np.float64), np.zeros(len(extra))])
    b = np.zeros(size)
    for _ in range(2):  # the weights depend on b, weakly
        gain = 1 + shared @ b
        parts = [cmb, gain**2 * noise, *(c**2 * n for c, n in zip(b[:k], template_noise, strict=True))]
        inverse = _inverse(_total(parts))
        weighted = design @ inverse if inverse.ndim == 2 else design * inverse
        # products of regressors hold noise: of each template, and of the map in all with CMB
        common = _trace(inverse, noise)
        normal = weighted @ design.T - common * np.outer(shared, shared)
        normal[np.arange(k), np.arange(k)] -= [_trace(inverse, n) for n in template_noise]
        scale = np.diag(normal)
        if (scale <= 0).any() or np.linalg.eigvalsh(normal / np.sqrt(np.outer(scale, scale)))[0] <= 1e-8:
            raise MapError(f"template fit: templates {list(names)} are degenerate or drowned in noise")
        b = np.linalg.solve(normal, weighted @ y + common * shared)
    # W times the covariance of the noise of each regressor with that of y - b x
    both = [
        _product(inverse, _total([gain * s * noise, c * n]))
        for s, c, n in zip(shared[:k], b[:k], template_noise, strict=True)
    ]
    middle = weighted @ design.T
    middle[:k, :k] += [[float(np.sum(p * q.T)) for q in both] for p in both]
    left = np.linalg.inv(normal)
    covariance = (left @ middle @ left)[:k, :k]
    residual = y - b @ design
    chi2 = residual @ (inverse @ residual if inverse.ndim == 2 else inverse * residual)
    a, jacobian = a_of_b(b[:k], shared[:k])
    return TemplateFit(
        b=b[:k],
        covariance_b=covariance,
        a=a,
        covariance_a=jacobian @ covariance @ jacobian.T,
        reduced_chi2=float(chi2 / (y.size - size)),
        names=tuple(names),
        response=(left @ weighted)[:k],
    )
