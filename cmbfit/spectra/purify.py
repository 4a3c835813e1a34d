"""Pure B modes: polarisation of a masked sky with the leakage from E removed before it adds variance.

Smith 2006 (astro-ph/0511629); Grain, Tristram & Stompor 2009 (arXiv:0903.2350). MASTER removes the
leakage of E into B on average, but its sample variance stays. Projecting the sky on eth^2(w Y) in
place of w eth^2(Y) removes it sky by sky, since eth^2 of a scalar is blind to E:

    N_l eth^2(w Y_lm) = w 2Y_lm + 2 f1 (eth w) 1Y_lm + f0 (eth^2 w) Y_lm,
    N_l = f0 = [(l - 2)! / (l + 2)!]^{1/2},   f1 = [(l - 1)(l + 2)]^{-1/2}.

Moving eth^2 onto the sky shows what is left of the coupling, without any counterterm:

    B^pure_lm = N_l sum_l'm' B_l'm' / N_l' int w Y_l'm' Y*_lm,

a scalar kernel between factors N, so that for pure B in one map or in both

    <C~^BB_l> = sum_l' (N_l / N_l')^2 M00_ll' C_l'^BB,        nothing from EE,
    <C~^EB_l> = sum_l' (N_l / N_l') M02_ll' C_l'^EB,          nothing from BE,
    <C~^TB_l> = sum_l' (N_l / N_l') M00_ll' C_l'^TB.

Set `purify_b` of a :class:`~cmbfit.spectra.fields.Field`, or `pure` of
:func:`~cmbfit.spectra.master.prepare`; the covariance follows (:mod:`cmbfit.spectra.correlations`).

The mask must go to zero with its first derivative at its edges (apodisation C1 or C2, wide enough
for the pixels); what pixels leave behind falls with resolution.
"""

from __future__ import annotations

import numpy as np

from cmbfit.sky.harmonic import map2alm, scale_alm
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.spectra.gradients import eth_norm, mask_derivatives
from cmbfit.spectra.transforms import FieldAlms, masked_alms

Derivatives = tuple[Array, Array]


def pure_alms(
    stokes: StokesMap,
    mask: Mask,
    lmax: int,
    derivatives: Derivatives | None = None,
    nthreads: int = 1,
    mask_p: Mask | None = None,
    n_iter: int = 0,
) -> FieldAlms:
    """Return T and E of a masked map as they are, and pure B; in uK, pure B zero at l = 0 and 1.

    Parameters
    ----------
    mask : Mask
        Apodised. Pixels of weight zero count as zero, derivatives included.
    derivatives : pair of ndarray, optional
        Of :func:`~cmbfit.spectra.gradients.mask_derivatives` of the mask of Q and U, to be shared by many maps.
    mask_p : Mask, optional
        Of Q and U; `mask` when omitted.
    n_iter : int
        Iterations of every transform.

    Raises
    ------
    MapError
        When the mask keeps a pixel without data, or map and mask differ in nside or coordinates.
    """
    mask_p = mask if mask_p is None else mask_p
    one, two = mask_derivatives(mask_p) if derivatives is None else derivatives
    plain = masked_alms(stokes, mask, lmax, n_iter, nthreads, mask_p)
    q, u = (np.where(mask_p.support, np.nan_to_num(x), 0.0) for x in (stokes.q, stokes.u))

    def times_conjugate(weight: Array) -> Array:
        return np.stack([q * weight[0] + u * weight[1], u * weight[0] - q * weight[1]])

    norm = eth_norm(lmax)
    ell = np.arange(lmax + 1.0)
    f0 = np.divide(1.0, norm, out=np.zeros(lmax + 1), where=norm > 0)
    f1 = f0 * np.sqrt(ell * (ell + 1))
    spin1 = map2alm(times_conjugate(one), lmax, 1, n_iter, nthreads, mask_p.grid)[1]
    spin0 = map2alm(times_conjugate(two)[1:], lmax, 0, n_iter, nthreads, mask_p.grid)[0]
    b = scale_alm(plain.b, (norm > 0).astype(np.float64)) - scale_alm(spin1, 2 * f1) + scale_alm(spin0, f0)
    return FieldAlms(plain.t, plain.e, b, lmax)
