"""Real spherical harmonics of T, E and B sampled at pixels: the matrix Y of S = Y C Y^T.

Signs follow HEALPix: (Q +- iU)(n) = -sum_lm (E_lm +- i B_lm) +-2Y_lm(n), U in the COSMO convention
(Gorski et al. 2005, astro-ph/0409513). The rotation angles between the local axes of two pixels, which a
sum over Legendre functions needs for Q and U, are inside the spin-2 harmonics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import LikelihoodError
from cmbfit.sky.harmonic import alm2map, alm_size
from cmbfit.sky.maps import Array, unit_vectors

Pixels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PixelSet:
    """The pixels of a data vector: those of I first, then those of Q, then the same ones of U.

    Attributes
    ----------
    nside : int
    t, p : ndarray of int
        RING pixel numbers in which I, and Q and U, are used; empty where a field is not used.
    """

    nside: int
    t: Pixels
    p: Pixels

    def __post_init__(self) -> None:
        for name in ("t", "p"):
            pixels = np.asarray(getattr(self, name), dtype=np.int64)
            object.__setattr__(self, name, pixels)
            if pixels.ndim != 1 or len(np.unique(pixels)) != len(pixels):
                raise LikelihoodError(f"pixels of {name}: expected a list without repeats")
            if len(pixels) and not 0 <= pixels.min() <= pixels.max() < 12 * self.nside**2:
                raise LikelihoodError(
                    f"pixels of {name}: expected numbers from 0 to {12 * self.nside**2 - 1} at nside {self.nside}"
                )
        if len(self) == 0:
            raise LikelihoodError("the masks leave no pixel: a pixel likelihood needs some sky")

    def __len__(self) -> int:
        return len(self.t) + 2 * len(self.p)

    @property
    def fields(self) -> str:
        """Harmonic fields that the pixels see: "t", "eb" or "teb"."""
        return ("t" if len(self.t) else "") + ("eb" if len(self.p) else "")


def mode_ell(lmin: int, lmax: int) -> NDArray[np.int64]:
    """Return the l of every real mode, shape (n_lm,): 2 l + 1 modes for each l."""
    return np.repeat(np.arange(lmin, lmax + 1), 2 * np.arange(lmin, lmax + 1) + 1)


def _real_alm(ell: int, m: int, imaginary: bool, lmax: int) -> NDArray[np.complex128]:
    """Coefficients of one real mode of unit variance: a_l0 = 1, or a_lm = (1 or i) / sqrt(2)."""
    alm = np.zeros(alm_size(lmax), dtype=np.complex128)
    alm[m * (2 * lmax + 1 - m) // 2 + ell] = 1.0 if m == 0 else (1j if imaginary else 1.0) / np.sqrt(2)
    return alm


def mode_matrix(pixels: PixelSet, lmin: int, lmax: int, windows: Mapping[str, Array] | None = None) -> Array:
    """Return Y: what a unit of each real mode puts into each pixel.

    A real mode is a_l0, sqrt(2) Re a_lm or sqrt(2) Im a_lm (m > 0); each has variance C_l. Within an l
    the order is m = 0, then real and imaginary part of m = 1, 2, ...

    Parameters
    ----------
    pixels : PixelSet
    lmin, lmax : int
        From 0 for T alone, from 2 with polarisation; up to 3 nside, beyond which HEALPix pixels tell
        no modes apart.
    windows : mapping, optional
        Field ("t", "e", "b") to the window b_l p_l that multiplies its modes, shape (>= lmax + 1,).

    Returns
    -------
    ndarray, shape (len(pixels), n_fields, n_lm)
        Fields in the order of ``pixels.fields``.

    Raises
    ------
    LikelihoodError
        For an lmax beyond 3 nside, or a window that is missing or too short.
    """
    lowest = 2 if len(pixels.p) else 0
    if not lowest <= lmin <= lmax:
        raise LikelihoodError(f"modes from l = {lmin} to {lmax}: expected {lowest} <= lmin <= lmax")
    if lmax > 3 * pixels.nside:
        raise LikelihoodError(
            f"lmax {lmax} is beyond 3 nside = {3 * pixels.nside}: pixels of nside {pixels.nside} do not tell such "
            "modes apart; use maps of a finer nside or a lower lmax"
        )
    ell = mode_ell(lmin, lmax)
    out = np.zeros((len(pixels), len(pixels.fields), len(ell)))
    n_t, n_p = len(pixels.t), len(pixels.p)
    column = 0
    for multipole in range(lmin, lmax + 1):
        for k in range(2 * multipole + 1):
            alm = _real_alm(multipole, (k + 1) // 2, k % 2 == 0, lmax)
            if n_t:
                out[:n_t, 0, column] = alm2map(alm[None], pixels.nside, 0)[0][pixels.t]
            if n_p:
                for field, pair in (
                    (-2, np.stack([alm, np.zeros_like(alm)])),
                    (-1, np.stack([np.zeros_like(alm), alm])),
                ):
                    q, u = alm2map(pair, pixels.nside, 2)
                    out[n_t:, field, column] = np.concatenate([q[pixels.p], u[pixels.p]])
            column += 1
    for i, name in enumerate(pixels.fields):
        if windows is None:
            continue
        if name not in windows or len(windows[name]) <= lmax:
            raise LikelihoodError(f"window of {name.upper()}: expected {lmax + 1} values from l = 0")
        out[:, i] *= np.asarray(windows[name])[ell]
    return out


def monopole_dipole(pixels: PixelSet) -> Array:
    """Return the monopole and the three dipole templates of I, shape (len(pixels), 4)."""
    out = np.zeros((len(pixels), 4))
    n = len(pixels.t)
    out[:n, 0] = 1.0
    out[:n, 1:] = unit_vectors(pixels.nside)[pixels.t]
    return out
