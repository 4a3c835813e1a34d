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

from collections.abc import Iterable
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


_TYPES = {"x00": 0, "x02": 1, "xpp": 2, "xmm": 3}
"""ducc0's names of the computations."""

_MATRICES = {"00": "x00", "+0": "x02", "++": "xpp", "--": "xmm"}


def coupling_name(one: str, two: str) -> str | None:
    """Return which matrix two kernels "0", "+" or "-" sum to; None for an odd and an even one, whose sum vanishes.

    Examples
    --------
    >>> coupling_name("+", "0"), coupling_name("+", "-")
    ('x02', None)
    """
    return _MATRICES.get("".join(sorted((one, two))))


class Coupling:
    """The four symmetric coupling matrices of one mask cross-spectrum, each computed when it is first asked for.

    Parameters
    ----------
    mask_cl : ndarray, shape (n,)
        Cross-spectrum of the masks from L = 0. It must reach l1max + l2max, beyond which the 3j symbols
        vanish; a shorter one would silently lose coupling.

    Attributes
    ----------
    shape : (int, int)
        (l1max + 1, l2max + 1), of each matrix.
    mask_cl : ndarray, shape (l1max + l2max + 1,)
    found : dict
        The matrices that were computed, by name.
    """

    def __init__(self, mask_cl: Array, l1max: int, l2max: int | None = None, nthreads: int = 1) -> None:
        l2max = l1max if l2max is None else l2max
        if mask_cl.ndim != 1 or mask_cl.size < l1max + l2max + 1:
            raise SpectrumError(
                f"mask spectrum up to {mask_cl.size - 1}: l1max + l2max = {l1max + l2max} is needed"
            )
        self.shape = (l1max + 1, l2max + 1)
        self.mask_cl = np.array(mask_cl[: l1max + l2max + 1], dtype=np.float64)
        self._nthreads = nthreads
        self.found: dict[str, Array] = {}

    def compute(self, *names: str) -> Coupling:
        """Compute several matrices ("x00", "x02", "xpp", "xmm"; all when none is named) at once."""
        compute_together([(self, name) for name in names or _MATRICES.values()], self._nthreads)
        return self

    def _matrix(self, name: str) -> Array:
        self.compute(name)
        return self.found[name]

    @property
    def x00(self) -> Array:
        """(l1 l2 L; 0 0 0)^2."""
        return self._matrix("x00")

    @property
    def x02(self) -> Array:
        """(l1 l2 L; 0 0 0)(l1 l2 L; 2 -2 0)."""
        return self._matrix("x02")

    @property
    def xpp(self) -> Array:
        """(l1 l2 L; 2 -2 0)^2 for l1 + l2 + L even."""
        return self._matrix("xpp")

    @property
    def xmm(self) -> Array:
        """(l1 l2 L; 2 -2 0)^2 for l1 + l2 + L odd."""
        return self._matrix("xmm")

    def of(self, one: str, two: str) -> Array | None:
        """Return the matrix of the kernels "0", "+" or "-"; None for an odd and an even one, whose sum vanishes."""
        name = coupling_name(one, two)
        return None if name is None else self._matrix(name)

    def of_spectrum(self, _: str) -> Coupling:
        """Return what couples a pseudo-spectrum: the same for all, where T and polarisation have one mask."""
        return self


def compute_together(wanted: Iterable[tuple[Coupling, str]], nthreads: int = 1) -> None:
    """Compute matrices of several mask spectra at once, each given as (coupling, "x00", "x02", "xpp" or "xmm").

    3j symbols are most of the work and do not depend on the spectrum: a second one costs a tenth to a third of the first.
    Matrices that are there already are not computed again.
    """
    lib = ducc0.misc.experimental  # an unstable corner of ducc0: the `_new` spelling may go away
    compute = getattr(lib, "coupling_matrix_rect_new", None) or lib.coupling_matrix_rect
    lacking: dict[tuple[str, tuple[int, int]], dict[int, Coupling]] = {}
    for c, name in wanted:
        if name not in c.found:
            lacking.setdefault((name, c.shape), {})[id(c)] = c
    for (name, shape), by_id in lacking.items():
        couplings = list(by_id.values())
        spec = np.stack([c.mask_cl for c in couplings])
        out = np.zeros((len(couplings), *shape))
        compute(spec=spec, optype=(_TYPES[name],) * len(couplings), res=out, nthreads=nthreads)
        for c, matrix in zip(couplings, out, strict=True):
            c.found[name] = matrix


@dataclass(frozen=True, eq=False)
class PairCoupling:
    """Couplings of two fields that each have a mask of T and one of polarisation.

    Attributes
    ----------
    tt, tp, pt, pp : Coupling
        Of the masks of T or polarisation (p) of the first and the second field.
    """

    tt: Coupling
    tp: Coupling
    pt: Coupling
    pp: Coupling

    def of_spectrum(self, spectrum: str) -> Coupling:
        """Return what couples a pseudo-spectrum: "te" feels the mask of T of the first, of polarisation of the second."""
        found: Coupling = getattr(self, "".join("t" if x == "t" else "p" for x in spectrum))
        return found


def coupling(mask_cl: Array, l1max: int, l2max: int | None = None, nthreads: int = 1) -> Coupling:
    """Return the four coupling matrices of a mask's pseudo-spectrum, computed; see :class:`Coupling`."""
    return Coupling(mask_cl, l1max, l2max, nthreads).compute()


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


def responses(
    spectrum: str, c: Coupling | PairCoupling, pure: tuple[bool, bool] = (False, False)
) -> list[Response]:
    """Return what enters the pseudo-spectrum `spectrum` of maps a x b, beams not included.

    Parameters
    ----------
    pure : (bool, bool)
        Whether B of map a, and of map b, is pure.
    """
    c = c.of_spectrum(spectrum)
    lmax = c.shape[0] - 1
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
