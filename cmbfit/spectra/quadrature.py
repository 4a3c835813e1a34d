"""Wigner d functions on Gauss-Legendre nodes: sums over 3j symbols as products of thin matrices.

With xi(beta) = sum_L (2 L + 1) / (4 pi) W_L P_L(cos beta) the correlation function of the masks, every coupling is
X_{l1 l2} = 1/2 int xi d^l1_mn d^l2_mn d cos(beta) (Kostelec & Rockmore 2008, section 3; Louis et al. 2020,
arXiv:2010.14344). The integrand is a polynomial of degree l1 + l2 + L <= 4 lmax, so 2 lmax + 2 nodes give it exactly.
A binned X, or X times a spectrum, is then three thin products, and no matrix of lmax^2 elements is ever made.

Functions of definite parity, f(pi - beta) = +- (-1)^l f(beta), need nodes of one hemisphere only:

    "0": d_00, "2": d_20, "s": (d_22 + d_2,-2) / 2, and "d": (d_22 - d_2,-2) / 2, the one with the lower sign.

Errors are 1e-16 to 1e-15 of the largest X, also where X itself is smaller.
"""

from __future__ import annotations

import itertools
from weakref import WeakValueDictionary

import ducc0
import numpy as np

from cmbfit.sky.maps import Array
from cmbfit.theory.wigner import wigner_d

_SHARED: WeakValueDictionary[int, Quadrature] = WeakValueDictionary()


def quadrature(lmax: int) -> Quadrature:
    """Return the nodes and tables for lmax; all that ask for them while they live have the same."""
    found = _SHARED.get(lmax)
    if found is None:
        found = _SHARED[lmax] = Quadrature(lmax)
    return found


class Quadrature:
    """Nodes for integrals over cos(beta) of degree up to 4 lmax, and tables of Wigner d functions there.

    Functions of beta are arrays of shape (..., 2, lmax + 1): northern nodes from the pole, then their mirror images.

    Parameters
    ----------
    lmax : int
        Tables have (lmax + 1)^2 numbers each and are made when they are first used.
    """

    def __init__(self, lmax: int) -> None:
        self.lmax = lmax
        n = 2 * lmax + 2
        self._beta = ducc0.misc.GL_thetas(n)[: lmax + 1]
        self._weights = ducc0.misc.GL_weights(n, 1)[: lmax + 1] / (4 * np.pi)  # of 1/2 int d cos(beta)
        self._tables: dict[str, Array] = {}

    def table(self, name: str) -> Array:
        """Return "0", "2", "s" or "d" for all l at the northern nodes, shape (lmax + 1, lmax + 1)."""
        if name not in self._tables:
            if name in "02":
                self._tables[name] = wigner_d(self.lmax, int(name), 0, self._beta).T
            else:
                one, two = (wigner_d(self.lmax, 2, n, self._beta).T for n in (2, -2))
                two += one
                two *= 0.5
                one -= two
                self._tables |= {"s": two, "d": one}
        return self._tables[name]

    def correlation(self, cl: Array) -> Array:
        """Return sum_L (2 L + 1) / (4 pi) C_L P_L times the weights of the integral over 1/2 d cos(beta).

        Parameters
        ----------
        cl : ndarray, shape (n,)
            n <= 2 lmax + 1.
        """
        ell, n = np.arange(cl.size), 2 * self.lmax + 2
        alm = (cl * np.sqrt((2 * ell + 1) / (4 * np.pi))).astype(np.complex128)
        xi = ducc0.sht.synthesis_2d(
            alm=alm[None], spin=0, lmax=cl.size - 1, mmax=0, geometry="GL", ntheta=n, nphi=1
        ).ravel()
        return np.stack([xi[: self.lmax + 1], xi[: self.lmax : -1]]) * self._weights

    def synthesis(self, name: str, weights: Array, edges: tuple[int, ...]) -> Array:
        """Return the functions sum_l w_l t_l(beta) over l of each bin, shape (bins, 2, lmax + 1).

        Parameters
        ----------
        weights : ndarray, shape (>= edges[-1],)
        edges : tuple of int
            Bins are half-open, [edges[b], edges[b + 1]).
        """
        t, sign = self.table(name), _SIGN[name]
        out = np.empty((len(edges) - 1, 2, self.lmax + 1))
        for b, (low, high) in enumerate(itertools.pairwise(edges)):
            first, second = (weights[k:high:2] @ t[k:high:2] for k in (low, low + 1))
            even, odd = (first, second) if low % 2 == 0 else (second, first)
            np.add(even, odd, out=out[b, 0])
            np.multiply(sign, even - odd, out=out[b, 1])
        return out

    def adjoint(self, name: str, values: Array) -> Array:
        """Return sum_beta v(beta) t_l(beta) over all nodes, shape (n, lmax + 1), of v of shape (n, 2, lmax + 1)."""
        t, sign = self.table(name), _SIGN[name]
        south = sign * values[:, 1]
        out = np.empty((len(values), self.lmax + 1))
        out[:, 0::2] = (values[:, 0] + south) @ t[0::2].T
        out[:, 1::2] = (values[:, 0] - south) @ t[1::2].T
        return out


_SIGN = {"0": 1, "2": 1, "s": 1, "d": -1}
