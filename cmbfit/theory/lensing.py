"""Lensing of CMB spectra on the full sky, batched and differentiable.

The correlation functions of Challinor & Lewis 2005 (astro-ph/0502425), to second order in the
anisotropic part of the deflections' correlation, integrated over small angles only: what lensing
changes lives below pi/32. There a tenth of the multipoles, weighed, stand for all (:mod:`cmbfit.theory.lensing_nodes`). The exponents' constants (their eqs. 42-47: l(l+1) - 2, - 8/3, ...) change the result
by the deflections' variance, 1e-6, and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import torch
from ducc0.misc import GL_thetas, GL_weights

from cmbfit.device import OnDevice
from cmbfit.errors import SpectrumError
from cmbfit.theory.extrapolation import extrapolate_spectra
from cmbfit.theory.lensing_nodes import SIGMA2_MAX, choose_nodes
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.wigner import wigner_d

THETA_MAX = math.pi / 32
"""Largest angle of the integrals [rad]; pi/32 errs by less than 1e-4 in TT and EE at l <= 2500."""

_OVERSAMPLING = 1.4  # angles per multipole: 1 is exact for a product of two functions of degree lmax
_TAPER = 30  # angles over which the cut-off at THETA_MAX is smoothed: a sharp one rings in l
_CHUNK = 2**19  # numbers of one (model, angle, multipole) array at a time: what a processor keeps near


class Lensing(OnDevice):
    """The geometry of lensing for one range of multipoles.

    Parameters
    ----------
    lmax_unlensed : int
        Where the unlensed spectra and the potential stop. Take 1200 more than `lmax`: power from there lenses
        into the range that is wanted (1e-3 too little at l = 2500 with 300 more).
    lmax : int
        Largest lensed multipole.

    Examples
    --------
    >>> lensing = Lensing(300, 200)
    >>> flat = {p: torch.ones(1, 301, dtype=torch.float64) for p in ("tt", "te", "ee")}
    >>> dl = lensing.lensed({**flat, "pp": torch.full((1, 301), 1e-12, dtype=torch.float64)})
    >>> dl["tt"].shape
    torch.Size([1, 201])
    """

    def __init__(self, lmax_unlensed: int, lmax: int) -> None:
        if not 2 <= lmax <= lmax_unlensed:
            raise SpectrumError(f"lmax: expected 2..lmax_unlensed = {lmax_unlensed}, found {lmax}")
        self.lmax_unlensed, self.lmax = lmax_unlensed, lmax
        beta, weights = _angles(lmax_unlensed)
        ell = np.arange(lmax_unlensed + 1.0)
        square = ell * (ell + 1)
        to_cl = np.zeros_like(ell)
        to_cl[2:] = 2 * np.pi / square[2:]
        measure = (2 * ell + 1) / (4 * np.pi)

        def d(m: int, n: int) -> np.ndarray:
            return wigner_d(lmax_unlensed, m, n, beta)

        def root(*factors: int) -> np.ndarray:
            """Square root of prod (l + factor), zero where negative."""
            return np.sqrt(np.prod([np.maximum(ell + f, 0) for f in factors], axis=0))

        d00, d11, d1m1 = d(0, 0), d(1, 1), d(1, -1)
        d20, d22, d2m2 = d(2, 0), d(2, 2), d(2, -2)
        # the paper's X_imn (eqs. 42-47) without their common exponential exp(-l(l+1) sigma^2 / 4)
        x000, x022 = -square / 4, -(square - 4) / 4  # derivatives with respect to sigma^2
        x220, x242 = root(-1, 0, 1, 2) / 4, root(-3, -2, 3, 4) / 4
        x121, x132 = -root(-1, 2) / 2, -root(-2, 3) / 2
        inverse = np.divide(1, square, out=np.zeros_like(ell), where=square > 0)
        # correlation function of order 0, 1, 2 in C_gl,2 (eqs. 37, 49, 50 and 51), per unit C_l
        kernels = {
            "t": (d00, 8 * inverse * x000**2 * d1m1, x000**2 * d00 + x220**2 * d2m2),
            "plus": (d22, 2 * x132 * x121 * d(3, 1), x022**2 * d22 + x242 * x220 * d(4, 0)),
            "minus": (
                d2m2,
                x121**2 * d1m1 + x132**2 * d(3, -3),
                x022**2 * d2m2 + (x220**2 * d00 + x242**2 * d(4, -4)) / 2,
            ),
            "cross": (
                d20,
                2 * x000 * np.sqrt(inverse) * (x121 * d11 + x132 * d(3, -1)),
                (2 * x022 * x000 + x220**2) / 2 * d20 + x220 * x242 / 2 * d(4, -2),
            ),
        }
        tensor = torch.from_numpy
        self._square = tensor(square)
        self._to_cl = tensor(to_cl)
        # C_gl(0) - C_gl(beta) as one sum: a difference of two large sums would lose digits at small angles
        potential = measure * inverse * 2 * np.pi  # [L(L+1)]^2 C/2pi -> (2L+1)/4pi L(L+1) C
        self._isotropic = tensor(potential * (1 - d11))
        self._anisotropic = tensor(potential * d1m1)
        stacked = {k: np.stack(x) * measure for k, x in kernels.items()}
        self._kernels = {k: tensor(x) for k, x in stacked.items()}
        # in units in which the sources are about flat: D_l / l
        nodes, gather = choose_nodes(stacked, square, to_cl * ell)
        self._nodes, self._gather = tensor(nodes), tensor(gather * to_cl[:, None])
        self._of_nodes = {k: tensor(np.ascontiguousarray(x[:, :, nodes])) for k, x in stacked.items()}
        back = weights[:, None] * (square / (2 * np.pi)) * (2 * np.pi)
        self._back = {
            k: tensor((x * back)[:, : lmax + 1])
            for k, x in (("t", d00), ("plus", d22), ("minus", d2m2), ("cross", d20))
        }

    def lensed(self, dl: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return lensed spectra; differentiable in all that is given.

        Parameters
        ----------
        dl : mapping of str to torch.Tensor
            Unlensed tt, te, ee, (bb: zero if absent) [uK^2] and pp = [L(L+1)]^2 C_L/2pi, each of shape
            (batch, lmax_unlensed + 1).

        Returns
        -------
        dict
            Lensed tt, te, ee, bb and the given pp, shape (batch, lmax + 1).

        Raises
        ------
        SpectrumError
            If a spectrum is missing or does not stop at `lmax_unlensed`.
        """
        Spectra(dl).require(("tt", "te", "ee", "pp"), self.lmax_unlensed)
        if dl["tt"].shape[1] != self.lmax_unlensed + 1:
            found = dl["tt"].shape[1] - 1
            raise SpectrumError(
                f"lensing: expected spectra to l = {self.lmax_unlensed}, found l = {found}; cut them first"
            )
        sigma2 = dl["pp"] @ self._isotropic.T  # shape: (batch, angle)
        c2 = dl["pp"] @ self._anisotropic.T
        # more lensing than the nodes are made for takes every multipole
        near = bool((sigma2 <= SIGMA2_MAX).all())
        ee, bb = dl["ee"], dl.get("bb")
        plus, minus = (ee, ee) if bb is None else (ee + bb, ee - bb)
        sources = {"t": dl["tt"], "plus": plus, "minus": minus, "cross": dl["te"]}
        cl = {name: x @ self._gather if near else x * self._to_cl for name, x in sources.items()}
        kernels, square = (
            (self._of_nodes, self._square[self._nodes]) if near else (self._kernels, self._square)
        )
        rows = _chunks(len(c2), len(self._isotropic) * len(square))
        xi = torch.cat(
            [_xi({n: x[i] for n, x in cl.items()}, sigma2[i], c2[i], kernels, square) for i in rows], dim=1
        )
        change = {name: x @ self._back[name] for name, x in zip(sources, xi, strict=True)}
        zero = torch.zeros_like(ee) if bb is None else bb
        lensed = {p: x[:, : self.lmax + 1] for p, x in {**dl, "bb": zero}.items()}
        return {
            **lensed,
            "tt": lensed["tt"] + change["t"],
            "te": lensed["te"] + change["cross"],
            "ee": lensed["ee"] + (change["plus"] + change["minus"]) / 2,
            "bb": lensed["bb"] + (change["plus"] - change["minus"]) / 2,
        }


def _chunks(batch: int, numbers: int) -> Iterator[slice]:
    size = max(1, _CHUNK // numbers)
    return (slice(i, i + size) for i in range(0, batch, size))


def _xi(
    cl: Mapping[str, torch.Tensor],  # name -> shape (batch, ell)
    sigma2: torch.Tensor,  # shape: (batch, angle)
    c2: torch.Tensor,  # shape: (batch, angle)
    kernels: Mapping[str, torch.Tensor],  # name -> shape (order, angle, ell)
    square: torch.Tensor,  # shape: (ell,)
) -> torch.Tensor:  # shape: (name, batch, angle)
    """Return correlation functions, lensed minus unlensed: the order without C_gl,2 enters by exp - 1."""
    damping = torch.exp((-0.5 * sigma2).T[:, :, None] * square)  # shape: (angle, batch, ell)
    powers = torch.stack([torch.ones_like(c2), c2, c2**2])  # shape: (order, batch, angle)
    out = []
    for name, source in cl.items():
        sums = (damping * source) @ kernels[name].permute(1, 2, 0)  # shape: (angle, batch, order)
        out.append(torch.einsum("tbo,obt->bt", sums, powers) - source @ kernels[name][0].T)
    return torch.stack(out)


def _angles(lmax: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre angles below THETA_MAX and their weights in cos(beta), smoothly switched off at the end."""
    n = int(_OVERSAMPLING * lmax) + 1
    beta = GL_thetas(n)
    keep = np.sort(beta)[: int((beta < THETA_MAX).sum())]
    weights = GL_weights(n, 1)[np.argsort(beta)][: len(keep)] / (2 * np.pi)
    taper = np.ones(len(keep))
    width = min(_TAPER, len(keep) // 2)
    taper[len(keep) - width :] = np.exp(-0.5 * np.linspace(0, 3, width) ** 2)  # a Gaussian's half, to 3 sigma
    return keep, weights * taper


@lru_cache(maxsize=4)
def _geometry(lmax_unlensed: int, lmax: int, device: torch.device) -> Lensing:
    return Lensing(lmax_unlensed, lmax).to(device)


def lens(unlensed: Spectra, lmax: int, tail: int | None = None) -> Spectra:
    """Lens a batch of spectra; see :class:`Lensing`.

    Parameters
    ----------
    unlensed : Spectra
        tt, te, ee, pp and perhaps bb.
    lmax : int
        Largest lensed multipole.
    tail : int, optional
        Continue the unlensed spectra to here by CAMB's template, scaled to meet each model, as its Fortran does: to
        l = 2500 from 3700 and 7000 TT and EE then err by less than 1e-4 in place of 4e-4, BB by 0.3% in place of 2.4%.

    Returns
    -------
    Spectra
        tt, te, ee, bb and pp to `lmax`, with the parameter table of `unlensed`.
    """
    dl = dict(unlensed.dl)
    if tail is not None and tail > unlensed.lmax:
        smooth = Spectra({p: x for p, x in dl.items() if p != "bb"})
        dl = dict(extrapolate_spectra(smooth, tail, unlensed=True).dl)
        if "bb" in unlensed.dl:  # of gravitational waves: nothing at large l
            dl["bb"] = torch.nn.functional.pad(unlensed.dl["bb"], (0, tail - unlensed.lmax))
    geometry = _geometry(dl["tt"].shape[1] - 1, lmax, dl["tt"].device)
    return Spectra(geometry.lensed(dl), unlensed.parameters)
