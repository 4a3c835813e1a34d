"""Pure B modes: polarisation of a masked sky with the leakage from E removed before it adds variance.

Smith 2006 (astro-ph/0511629); Grain, Tristram & Stompor 2009 (arXiv:0903.2350). MASTER removes the
leakage of E into B on average, but its sample variance stays. Projecting the sky on eth^2(w Y) in
place of w eth^2(Y) removes it sky by sky, since eth^2 of a scalar is blind to E:

    N_l eth^2(w Y_lm) = w 2Y_lm + 2 f1 (eth w) 1Y_lm + f0 (eth^2 w) Y_lm,
    N_l = f0 = [(l - 2)! / (l + 2)!]^{1/2},   f1 = [(l - 1)(l + 2)]^{-1/2}.

Moving eth^2 onto the sky shows what is left of the coupling, without any counterterm:

    B^pure_lm = N_l sum_l'm' B_l'm' / N_l' int w Y_l'm' Y*_lm,
    <C~^pure_l> = sum_l' (N_l / N_l')^2 M00_ll' C_l'^BB,        nothing from EE.

The mask must go to zero with its first derivative at its edges (apodisation C1 or C2, wide enough
for the pixels); what pixels leave behind falls with resolution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import ducc0
import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.sky.preprocess import require_data
from cmbfit.spectra.binning import Bins, dl_factor
from cmbfit.spectra.coupling import coupling, master_matrix
from cmbfit.spectra.master import Transfer
from cmbfit.spectra.transforms import Alm, _geometry, alm2cl, map2alm, mask_cross_spectrum


def eth_norm(lmax: int) -> Array:
    """Return 1 / N_l = sqrt((l + 2)! / (l - 2)!), zero at l = 0 and 1; shape (lmax + 1,)."""
    ell = np.arange(lmax + 1.0)
    return np.sqrt(np.maximum((ell + 2) * (ell + 1) * ell * (ell - 1), 0))


def _scaled(alm: Alm, factor: Array) -> Alm:
    lmax = factor.size - 1
    ell = np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])
    return alm * factor[ell]


def mask_derivatives(mask: Mask) -> tuple[Array, Array]:
    """Return -eth(w) and -eth^2(w) as (real, imaginary) maps, each of shape (2, npix).

    From the mask's coefficients up to l = 2 nside, refined by three Jacobi iterations: above, the
    pixel sums alias, and derivatives amplify that (at l = 3 nside - 1 the poles are off by 0.4).
    """
    lmax = 2 * mask.nside
    alm = map2alm(mask.weights[None], lmax, 0, n_iter=3)[0]
    ell = np.arange(lmax + 1.0)
    synthesis = partial(ducc0.sht.synthesis, lmax=lmax, **_geometry(mask.nside))
    out = []
    for spin, factor in ((1, np.sqrt(ell * (ell + 1))), (2, eth_norm(lmax))):
        gradient = _scaled(alm, factor)
        out.append(synthesis(alm=np.stack([gradient, np.zeros_like(gradient)]), spin=spin))
    return out[0], out[1]


def pure_b(stokes: StokesMap, mask: Mask, lmax: int, derivatives: tuple[Array, Array] | None = None) -> Alm:
    """Return the pure B_lm of a map, shape ((lmax + 1)(lmax + 2) / 2,), in uK; zero at l = 0 and 1.

    Parameters
    ----------
    mask : Mask
        Apodised. Pixels of weight zero count as zero, derivatives included.
    derivatives : pair of ndarray, optional
        Of :func:`mask_derivatives`, to be shared by many maps.
    """
    require_data(stokes, mask)
    one, two = mask_derivatives(mask) if derivatives is None else derivatives
    q, u = np.where(mask.support, np.nan_to_num(stokes.iqu[1:]), 0.0)

    def times_conjugate(weight: Array) -> Array:
        return np.stack([q * weight[0] + u * weight[1], u * weight[0] - q * weight[1]])

    norm = eth_norm(lmax)
    ell = np.arange(lmax + 1.0)
    f0 = np.divide(1.0, norm, out=np.zeros(lmax + 1), where=norm > 0)
    f1 = f0 * np.sqrt(ell * (ell + 1))
    spin2 = map2alm(np.stack([q, u]) * mask.weights, lmax, 2)[1]
    spin1 = _analyse_spin1(times_conjugate(one), mask.nside, lmax)
    spin0 = map2alm(times_conjugate(two)[1:], lmax, 0)[0]
    return _scaled(spin2, (norm > 0).astype(float)) - _scaled(spin1, 2 * f1) + _scaled(spin0, f0)


def _analyse_spin1(maps: Array, nside: int, lmax: int) -> Alm:
    area = 4 * np.pi / maps.shape[1]
    alm = ducc0.sht.adjoint_synthesis(map=np.ascontiguousarray(maps), lmax=lmax, spin=1, **_geometry(nside))
    return area * alm[1]


@dataclass(frozen=True, eq=False)
class PureMaster:
    """From pure-B pseudo-spectra to BB bandpowers: the counterpart of :class:`~cmbfit.spectra.master.Master`.

    Attributes
    ----------
    operator, window : ndarray, shape (bins.n, lmax + 1)
        K^-1 B and the response of D_b^BB to D_l^BB, from l = 0. There is none to EE.
    matrix : ndarray, shape (lmax + 1, lmax + 1)
        (N_l / N_l')^2 M00, beams not included.
    """

    bins: Bins
    lmax: int
    operator: Array = field(repr=False)
    window: Array = field(repr=False)
    matrix: Array = field(repr=False)

    def decouple(self, one: Alm, two: Alm) -> Array:
        """Return BB bandpowers D_b in uK^2 of two sets of pure B_lm, shape (bins.n,)."""
        return np.asarray(self.operator @ alm2cl(one, two, self.lmax))


def prepare_pure(
    mask: Mask, bins: Bins, transfer_a: Transfer, transfer_b: Transfer, lmax: int, mask_b: Mask | None = None
) -> PureMaster:
    """Compute coupling matrix, operator and windows of pure B; parameters as :func:`~cmbfit.spectra.master.prepare`."""
    if min(transfer_a.p.size, transfer_b.p.size) <= lmax:
        raise SpectrumError(f"beams and pixel windows must reach l = {lmax}")
    c = coupling(mask_cross_spectrum(mask, mask_b, 2 * lmax), lmax)
    norm = eth_norm(lmax)
    inverse = np.divide(1.0, norm, out=np.zeros(lmax + 1), where=norm > 0)
    matrix: Array = np.asarray(np.outer(inverse**2, norm**2) * master_matrix(c.x00), dtype=np.float64)
    padded = bins.padded(lmax)
    binned = padded.binning(lmax) @ (matrix * (transfer_a.p[: lmax + 1] * transfer_b.p[: lmax + 1]))
    k = binned @ padded.unbinning(lmax)
    if np.linalg.cond(k) > 1e10:
        raise SpectrumError(
            "the binned coupling matrix of pure B is singular: apodise more or use wider bins"
        )
    factor = dl_factor(lmax)
    factor[:2] = np.inf
    operator: Array = np.asarray(np.linalg.solve(k, padded.binning(lmax)), dtype=np.float64)
    window: Array = np.asarray(np.linalg.solve(k, binned) / factor, dtype=np.float64)
    return PureMaster(bins, lmax, operator[: bins.n], window[: bins.n], matrix)
