r"""Temperature maps degraded by averaging the unmasked pixels, with a covariance that knows it.

Smoothing a_lm spreads the Galactic plane (thousands of uK) beyond the mask. Temperature is a scalar, so the
unmasked children of a coarse pixel may be averaged instead, and nothing masked enters. The price is power
beyond the coarse grid's multipoles in the map; it is paid exactly: the covariance of two averages is

    S_pq = sum_ij w_pi w_qj xi(theta_ij),    xi(theta) = sum_l (2l+1)/4pi C_l b_l^2 p_l^2 P_l(cos theta)

over their children i, j, with the sum over l carried on until the pixel window p_l of the fine grid ends it.
For Q and U, whose axes differ from child to child, this is not allowed: degrade those through a_lm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import healpy
import numpy as np
from numpy.polynomial.legendre import legval
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.likelihood.pixel.blocks import dl_to_cl
from cmbfit.likelihood.pixel.harmonics import PixelSet, mode_matrix
from cmbfit.sky.maps import Array, Mask, nside_of


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages over the unmasked children of coarse pixels.

    Attributes
    ----------
    nside, fine_nside : int
    pixels : ndarray of int, shape (n,)
        Coarse RING pixels.
    children : ndarray of int, shape (n, k)
        Fine RING pixels of each.
    weights : ndarray, shape (n, k)
        Zero for masked children; rows add up to 1.
    """

    nside: int
    fine_nside: int
    pixels: NDArray[np.int64]
    children: NDArray[np.int64]
    weights: Array

    @classmethod
    def under(cls, mask: Mask, nside: int, min_fraction: float = 0.25) -> Averages:
        """Return the averages under a mask for coarse pixels of which at least `min_fraction` is unmasked."""
        nside_of(12 * nside**2, "coarse pixels")
        if nside >= mask.nside:
            raise MapError(
                f"averages at nside {nside} of a mask at nside {mask.nside}: expected a coarser grid"
            )
        count = (mask.nside // nside) ** 2
        nested = np.arange(12 * nside**2)[:, None] * count + np.arange(count)
        children = healpy.nest2ring(mask.nside, nested)
        weights = mask.weights[children]
        keep = weights.mean(axis=1) >= max(min_fraction, 1e-12)
        if not keep.any():
            raise MapError(
                f"mask {mask.name!r}: no pixel of nside {nside} is unmasked to {min_fraction:g}; lower the fraction"
            )
        pixels = healpy.nest2ring(nside, np.flatnonzero(keep))
        order = np.argsort(pixels)
        children, weights = children[keep][order], weights[keep][order]
        return cls(nside, mask.nside, pixels[order], children, weights / weights.sum(1, keepdims=True))

    def __len__(self) -> int:
        return len(self.pixels)

    def of(self, values: Array) -> Array:
        """Return the averages of fine pixels, shape (12 fine_nside^2, ...) to (n, ...)."""
        out = np.zeros((len(self), *values.shape[1:]))
        for k in range(self.children.shape[1]):
            weight = self.weights[:, k].reshape(-1, *[1] * (values.ndim - 1))
            # a masked child may hold anything, NaN as well
            out += np.where(weight > 0, weight * values[self.children[:, k]], 0.0)
        return out

    def modes(self, lmin: int, lmax: int, window: Array) -> Array:
        """Return what unit T modes put into the averages, shape (n, 1, n_lm).

        `window` is beam times pixel window of the fine grid, shape (>= lmax + 1,).
        """
        none = np.zeros(0, dtype=np.int64)
        fine = PixelSet(self.fine_nside, np.arange(12 * self.fine_nside**2), none)
        return self.of(mode_matrix(fine, lmin, lmax, {"t": window}))

    def covariance(self, cl: Array) -> Array:
        """Return the covariance of the averages for C_l (windows included), shape (n, n)."""
        n_steps = 250 * len(cl)  # 500 points in the shortest wave: linear interpolation to 2e-5 of it
        theta = np.linspace(0, np.pi, n_steps + 1)
        xi = legval(np.cos(theta), (2 * np.arange(len(cl)) + 1) / (4 * np.pi) * cl)
        slope = np.append(np.diff(xi), 0.0)
        vectors = np.stack(healpy.pix2vec(self.fine_nside, self.children), axis=-1)
        out = np.zeros((len(self), len(self)))
        rows = max(1, 100_000 // len(self))  # blocks that stay in the processor's cache
        for start in range(0, len(self), rows):
            block = slice(start, start + rows)
            for a in range(self.children.shape[1]):
                for b in range(self.children.shape[1]):
                    position = vectors[block, a] @ vectors[:, b].T
                    np.arccos(np.clip(position, -1, 1, out=position), out=position)
                    position *= n_steps / np.pi
                    step = position.astype(np.int32)
                    position -= step
                    position *= slope.take(step)
                    position += xi.take(step)
                    position *= self.weights[:, b]
                    position *= self.weights[block, a, None]
                    out[block] += position
        return (out + out.T) / 2


def averaging_window(nside: int, lmax: int) -> Array:
    """Return the window of averaging over pixels of `nside`, isotropised, shape (lmax + 1,).

    p_l^2 = < P_l(cos theta_ij) > over 4 x 4 points i, j of one pixel, averaged over about a thousand pixels;
    the window of the points' own small pixels is the same function at l / 4, and so on. HEALPix's window
    files stop at 4 nside, where a map that was averaged still has power. Agrees with the nside 32 file to
    0.12% up to l = 64 and 0.7% up to l = 128.
    """
    n_pixels = 12 * nside**2
    parents = np.arange(0, n_pixels, max(1, n_pixels // 1024))
    points = healpy.pix2vec(4 * nside, parents[:, None] * 16 + np.arange(16), nest=True)
    vectors = np.stack(points, axis=-1)
    cosine = np.clip(vectors @ vectors.transpose(0, 2, 1), -1, 1).ravel()
    power = np.ones(lmax + 1)
    before, now = np.ones_like(cosine), cosine.copy()
    for ell in range(1, lmax + 1):
        power[ell] = now.mean()
        before, now = now, ((2 * ell + 1) * cosine * now - ell * before) / (ell + 1)
    of_points = np.sqrt(np.clip(power, 0, None))
    grid = np.arange(lmax + 1)
    return np.prod([np.interp(grid / 4**k, grid, of_points) for k in range(6)], axis=0)


def scaled_cl(dl: Mapping[str, Array], lmin: int, lmax: int, window: Array) -> Array:
    """Return C_l^TT times window^2 for lmin <= l <= lmax, zero below; shape (lmax + 1,)."""
    ell = np.arange(lmax + 1)
    return np.where(
        ell >= lmin, np.asarray(dl["tt"])[: lmax + 1] * dl_to_cl(ell) * window[: lmax + 1] ** 2, 0.0
    )
