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
from functools import cached_property

import ducc0
import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.gradients import eth_norm
from cmbfit.spectra.quadrature import Quadrature, quadrature

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

_FUNCTIONS = {
    "x00": (("0", "0"),),
    "x02": (("2", "2"),),
    "xpp": (("s", "s"), ("d", "d")),
    "xmm": (("s", "d"), ("d", "s")),
}
"""Functions of :class:`~cmbfit.spectra.quadrature.Quadrature` whose products, integrated with xi, sum to each matrix."""


def coupling_name(one: str, two: str) -> str | None:
    """Return which matrix two kernels "0", "+" or "-" sum to; None for an odd and an even one, whose sum vanishes.

    Examples
    --------
    >>> coupling_name("+", "0"), coupling_name("+", "-")
    ('x02', None)
    """
    return _MATRICES.get("".join(sorted((one, two))))


class Coupling:
    """The four symmetric coupling matrices of one mask cross-spectrum.

    Binned matrices and products with spectra come from a quadrature (:mod:`cmbfit.spectra.quadrature`); a whole matrix,
    a thousand times the numbers, is computed by ducc0 when it is asked for.

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
        self._whole: dict[str, Array] = {}
        self._corners: dict[tuple[str, int], Array] = {}
        self._binned: dict[tuple[str, Bins, int], Array] = {}
        self._times: dict[tuple[str, bytes], Array] = {}

    @cached_property
    def _quadrature(self) -> tuple[Quadrature, Array]:
        """Return nodes and tables, and the weights of the nodes for the masks' correlation function."""
        nodes = quadrature(max(self.shape) - 1)
        return nodes, nodes.weights(self.mask_cl)

    def product(self, name: str, weights: Array, edges: tuple[int, ...]) -> Array:
        """Return sum_l1 w_l1 X_{l1 l2} over the l1 of each bin, without making X.

        Parameters
        ----------
        name : {"x00", "x02", "xpp", "xmm"}
        weights : ndarray, shape (>= edges[-1],)
        edges : tuple of int
            Bins are half-open, up to l1max + 1.

        Returns
        -------
        ndarray, shape (bins, l2max + 1)
        """
        nodes, v = self._quadrature
        parts = (
            nodes.adjoint(right, v * nodes.synthesis(left, weights, edges))
            for left, right in _FUNCTIONS[name]
        )
        return np.asarray(sum(parts))[:, : self.shape[1]]

    def binned(self, name: str, bins: Bins, n_pure: int = 0) -> Array:
        """Return B N^n_pure X, kept for other pairs of maps behind these masks; shape (bins.n, l2max + 1).

        Parameters
        ----------
        bins : Bins
            B takes C_l to D_b.
        n_pure : int
            How many of the two B are pure: N_l = [(l - 2)! / (l + 2)!]^{1/2} for each.
        """
        key = name, bins, n_pure
        if key not in self._binned:
            lmax = self.shape[0] - 1
            # bins do not overlap: all rows of B in one
            weights = bins.binning(lmax).sum(axis=0) * pure_scale(lmax) ** n_pure
            self._binned[key] = self.product(name, weights, bins.edges)
        return self._binned[key]

    def times(self, name: str, spectra: Array) -> Array:
        """Return sum_l2 X_{l1 l2} c_l2, shape (l1max + 1,), of a vector c of shape (l2max + 1,), kept for other pairs of maps."""
        key = name, spectra.tobytes()
        if key not in self._times:
            self._times[key] = self.product(name, spectra, (0, spectra.size))[0, : self.shape[0]]
        return self._times[key]

    def matrix(self, name: str) -> Array:
        """Return "x00", "x02", "xpp" or "xmm" whole, shape (l1max + 1, l2max + 1)."""
        if name not in self._whole:
            self._whole[name] = self._computed(name, self.shape)
        return self._whole[name]

    def corner(self, name: str, lmax: int) -> Array:
        """Return the elements of a matrix up to lmax in both multipoles: those of the mask up to twice that make them."""
        if (name, lmax) not in self._corners:
            self._corners[name, lmax] = self._computed(name, (lmax + 1, lmax + 1))
        return self._corners[name, lmax]

    def _computed(self, name: str, shape: tuple[int, int]) -> Array:
        lib = ducc0.misc.experimental  # an unstable corner of ducc0: the `_new` spelling may go away
        compute = getattr(lib, "coupling_matrix_rect_new", None) or lib.coupling_matrix_rect
        out = np.zeros((1, *shape))
        spec = self.mask_cl[None, : sum(shape) - 1]
        compute(spec=spec, optype=(_TYPES[name],), res=out, nthreads=self._nthreads)
        return np.asarray(out[0])

    def of(self, one: str, two: str) -> Array | None:
        """Return the matrix of the kernels "0", "+" or "-"; None for an odd and an even one, whose sum vanishes."""
        name = coupling_name(one, two)
        return None if name is None else self.matrix(name)

    def of_spectrum(self, _: str) -> Coupling:
        """Return what couples a pseudo-spectrum: the same for all, where T and polarisation have one mask."""
        return self


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
    """Return the couplings of a mask's pseudo-spectrum; see :class:`Coupling`."""
    return Coupling(mask_cl, l1max, l2max, nthreads)


@dataclass(frozen=True, eq=False)
class Response:
    """How one spectrum of the sky enters one pseudo-spectrum: the matrix N_l^n_pure X_ll' column_l'.

    Attributes
    ----------
    source : str
        Spectrum of the sky.
    coupling : Coupling
    name : {"x00", "x02", "xpp", "xmm"}
        Of its matrices.
    n_pure : int
        How many B are pure.
    column : ndarray, shape (lmax + 1,)
        Holds 2 l' + 1, N_l'^-n_pure and the sign.
    """

    source: str
    coupling: Coupling
    name: str
    n_pure: int
    column: Array

    @property
    def _row(self) -> Array:
        return pure_scale(self.coupling.shape[0] - 1) ** self.n_pure

    def matrix(self) -> Array:
        """Return the whole matrix."""
        return self._row[:, None] * self.coupling.matrix(self.name) * self.column

    def binned(self, bins: Bins) -> Array:
        """Return the matrix from C_l' of the sky to D_b of the pseudo-spectrum, shape (bins.n, lmax + 1)."""
        return self.coupling.binned(self.name, bins, self.n_pure) * self.column

    def apply(self, cl: Array) -> Array:
        """Return the pseudo-spectrum of C_l of the source."""
        return self._row * self.coupling.times(self.name, self.column * cl)


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
    pair = letters(spectrum, pure)
    first, second = pair[0], pair[1]
    n_pure = (first == PURE) + (second == PURE)
    column = eth_norm(lmax) ** n_pure * (2 * np.arange(lmax + 1) + 1)
    out = []
    for one, (kind1, factor1) in _KERNELS[first].items():
        for two, (kind2, factor2) in _KERNELS[second].items():
            name = coupling_name(kind1, kind2)
            if name is not None:
                sign = (factor1 * complex(factor2).conjugate()).real
                out.append(Response(one + two, c, name, n_pure, sign * column))
    return out


def pure_scale(lmax: int) -> Array:
    """Return N_l = [(l - 2)! / (l + 2)!]^{1/2}, zero at l = 0 and 1; shape (lmax + 1,)."""
    up = eth_norm(lmax)
    return np.divide(1.0, up, out=np.zeros(lmax + 1), where=up > 0)
