"""Wigner d functions on equidistant nodes: sums over 3j symbols as products of thin matrices.

With xi(beta) = sum_L (2 L + 1) / (4 pi) W_L P_L(cos beta) the correlation function of the masks, every coupling is
X_{l1 l2} = 1/2 int xi d^l1_mn d^l2_mn d cos(beta) (Louis et al. 2020, arXiv:2010.14344). Products d d are polynomials of
degree 2 lmax in cos(beta), cosine series of beta, so 2 lmax + 2 nodes beta_j = pi (j + 1/2) / n give the integral exactly, with
weights made for xi: those of Fejer's first rule where xi = 1. (Gauss and Legendre need as many nodes, but in double
precision theirs are off by 1e-16, which l multiplies.) A binned X, or X times a spectrum, is then three thin products,
and no matrix of lmax^2 elements is ever made.

Functions of definite parity, f(pi - beta) = +- (-1)^l f(beta), need nodes of one hemisphere only:

    "0": d_00, "2": d_20, "s": (d_22 + d_2,-2) / 2, and "d": (d_22 - d_2,-2) / 2, the one with the lower sign.

Errors are absolute: 1e-15 of the largest X at lmax = 1500, also where X itself is smaller.
"""

from __future__ import annotations

import itertools
from weakref import WeakValueDictionary

import ducc0
import numpy as np
import scipy.fft

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
    """Nodes for integrals over products of two Wigner d functions, and tables of these there.

    Functions of beta are arrays of shape (..., 2, lmax + 1): northern nodes from the pole, then their mirror images.

    Parameters
    ----------
    lmax : int
        Tables have (lmax + 1)^2 numbers each and are made when they are first used.
    """

    def __init__(self, lmax: int) -> None:
        self.lmax = lmax
        pi = np.arccos(np.longdouble(-1))
        self._beta = pi * (2 * np.arange(lmax + 1) + 1) / (4 * lmax + 4)
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

    def weights(self, cl: Array) -> Array:
        """Return the weights v of 1/2 int xi f d cos(beta) = sum_beta v f, with xi = sum_L (2 L + 1) / (4 pi) C_L P_L.

        Parameters
        ----------
        cl : ndarray, shape (n,)
            n <= 2 lmax + 1.
        """
        ell, n = np.arange(cl.size), 2 * self.lmax + 2
        alm = (cl * np.sqrt((2 * ell + 1) / (4 * np.pi))).astype(np.complex128)
        xi = ducc0.sht.synthesis_2d(
            alm=alm[None], spin=0, lmax=cl.size - 1, mmax=0, geometry="F1", ntheta=2 * n, nphi=1
        ).ravel()
        # moments of xi with cos(k beta) on twice the nodes, where Fejer's own weights give them exactly
        fejer = ducc0.sht.experimental.get_gridweights("F1", 2 * n) / (4 * np.pi)
        moments = scipy.fft.dct(fejer * xi, type=2)[:n] / 2
        v = scipy.fft.dct(moments, type=3) / n
        return np.stack([v[: self.lmax + 1], v[: self.lmax : -1]])

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
