"""Mode coupling of a masked sky: how the mask mixes multipoles and E with B.

X_{l1 l2} = sum_L (2 L + 1) / (4 pi) W_L (3j products), symmetric in l1, l2; the MASTER matrix is
M_{l1 l2} = (2 l2 + 1) X_{l1 l2}: Hivon et al. 2002 (astro-ph/0105302) eq. A31 for spin 0, Kogut et
al. 2003 (astro-ph/0302213) appendix A for spin 2.

A masked field is a sum of kernels acting on the sky, T~ = K0 T, E~ = K+ E + i K- B, B~ = -i K- E + K+ B,
and with purification B^pure = N K0 N^-1 B, N_l = [(l - 2)! / (l + 2)!]^{1/2} (see
:mod:`cmbfit.spectra.purify`). Products of two kernels, summed over m, are the four X; those of an odd
and an even one vanish. :func:`responses` reads every coupling of every spectrum off this list.
"""

from __future__ import annotations

from dataclasses import dataclass

import ducc0
import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array
from cmbfit.spectra.gradients import eth_norm

PURE = "p"
"""The letter of pure B, where t, e and b stand for T, E and B."""

_KERNELS: dict[str, dict[str, tuple[str, complex]]] = {
    "t": {"t": ("0", 1)},
    "e": {"e": ("+", 1), "b": ("-", 1j)},
    "b": {"e": ("-", -1j), "b": ("+", 1)},
    PURE: {"b": ("0", 1)},
}


@dataclass(frozen=True, eq=False)
class Coupling:
    """The four symmetric coupling matrices, each (l1max + 1, l2max + 1).

    Attributes
    ----------
    x00 : (l1 l2 L; 0 0 0)^2
    x02 : (l1 l2 L; 0 0 0)(l1 l2 L; 2 -2 0)
    xpp : (l1 l2 L; 2 -2 0)^2 for l1 + l2 + L even
    xmm : (l1 l2 L; 2 -2 0)^2 for l1 + l2 + L odd
    """

    x00: Array
    x02: Array
    xpp: Array
    xmm: Array

    def of(self, one: str, two: str) -> Array | None:
        """Return the matrix of the kernels "0", "+" or "-"; None for an odd and an even one, whose sum vanishes."""
        return {"00": self.x00, "+0": self.x02, "++": self.xpp, "--": self.xmm}.get(
            "".join(sorted((one, two)))
        )


def coupling(mask_cl: Array, l1max: int, l2max: int | None = None, nthreads: int = 1) -> Coupling:
    """Return the coupling matrices of a mask's pseudo-spectrum.

    Parameters
    ----------
    mask_cl : ndarray, shape (n,)
        Pseudo-spectrum of the mask from L = 0. It must reach l1max + l2max, beyond which the 3j
        symbols vanish; a shorter one would silently lose coupling.
    """
    l2max = l1max if l2max is None else l2max
    if mask_cl.ndim != 1 or mask_cl.size < l1max + l2max + 1:
        raise SpectrumError(
            f"mask spectrum up to {mask_cl.size - 1}: l1max + l2max = {l1max + l2max} is needed"
        )
    spec = np.ascontiguousarray(np.stack([mask_cl] * 3)[:, : l1max + l2max + 1], dtype=np.float64)
    out = np.zeros((4, l1max + 1, l2max + 1))
    lib = ducc0.misc.experimental  # an unstable corner of ducc0: the `_new` spelling may go away
    compute = getattr(lib, "coupling_matrix_rect_new", None) or lib.coupling_matrix_rect
    compute(spec=spec, optype=(0, 1, 4), res=out, nthreads=nthreads)
    return Coupling(*out)


def master_matrix(x: Array) -> Array:
    """Return M_{l1 l2} = (2 l2 + 1) X_{l1 l2}."""
    return x * (2 * np.arange(x.shape[1]) + 1)


@dataclass(frozen=True, eq=False)
class Response:
    """How one spectrum of the sky enters one pseudo-spectrum: the matrix row_l X_ll' column_l'.

    Attributes
    ----------
    source : str
        Spectrum of the sky.
    row, column : ndarray, shape (lmax + 1,)
        The column holds 2 l' + 1 and the sign.
    x : ndarray, shape (lmax + 1, lmax + 1)
        One of the four matrices of :class:`Coupling`.
    """

    source: str
    row: Array
    x: Array
    column: Array

    def matrix(self) -> Array:
        """Return the whole matrix."""
        return self.row[:, None] * self.x * self.column

    def apply(self, cl: Array) -> Array:
        """Return the pseudo-spectrum of C_l of the source."""
        return self.row * (self.x @ (self.column * cl))


def letters(spectrum: str, pure: tuple[bool, bool]) -> str:
    """Return the two letters of a pseudo-spectrum, B as "p" where it is pure."""
    return "".join(PURE if x == "b" and p else x for x, p in zip(spectrum, pure, strict=True))


def responses(spectrum: str, c: Coupling, pure: tuple[bool, bool] = (False, False)) -> list[Response]:
    """Return what enters the pseudo-spectrum `spectrum` of maps a x b, beams not included.

    Parameters
    ----------
    pure : (bool, bool)
        Whether B of map a, and of map b, is pure.
    """
    lmax = c.x00.shape[0] - 1
    up = eth_norm(lmax)
    down = np.divide(1.0, up, out=np.zeros(lmax + 1), where=up > 0)
    pair = letters(spectrum, pure)
    first, second = pair[0], pair[1]
    n_pure = (first == PURE) + (second == PURE)
    row, column = down**n_pure, up**n_pure * (2 * np.arange(lmax + 1) + 1)
    out = []
    for one, (kind1, factor1) in _KERNELS[first].items():
        for two, (kind2, factor2) in _KERNELS[second].items():
            x = c.of(kind1, kind2)
            if x is not None:
                sign = (factor1 * complex(factor2).conjugate()).real
                out.append(Response(one + two, row, x, sign * column))
    return out
