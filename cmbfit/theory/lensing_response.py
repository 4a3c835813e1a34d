"""Lensing of a small change of the spectra: linear, at the lensing potential of a fiducial model.

Lensing is linear in the unlensed spectra, and to first order in a change of the potential's power. All of
it passes through the few angles of :class:`~cmbfit.theory.lensing.Lensing`, so that what takes a fifth of
a second for full spectra is a few small matrix products here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import SpectrumError
from cmbfit.theory.lensing import Lensing

_SOURCES = ("t", "plus", "minus", "cross")


class LensingResponse(OnDevice):
    """Change of lensed spectra from a change of unlensed ones, around a fiducial model.

    Parameters
    ----------
    lensing : Lensing
    fiducial : mapping of str to torch.Tensor
        Unlensed tt, te, ee [uK^2] and pp = [L(L+1)]^2 C_L/2pi, each of shape (lmax_unlensed + 1,).

    Examples
    --------
    >>> fiducial = {p: torch.ones(301, dtype=torch.float64) for p in ("tt", "te", "ee")}
    >>> fiducial["pp"] = torch.full((301,), 1e-10, dtype=torch.float64)
    >>> response = LensingResponse(Lensing(300, 200), fiducial)
    >>> one = {p: x[None] for p, x in fiducial.items()}
    >>> response(one)["bb"].shape
    torch.Size([1, 201])
    """

    def __init__(self, lensing: Lensing, fiducial: Mapping[str, torch.Tensor]) -> None:
        if missing := [p for p in ("tt", "te", "ee", "pp") if p not in fiducial]:
            raise SpectrumError(f"lensing response: the fiducial model lacks {', '.join(missing)}")
        self.lmax_unlensed, self.lmax = lensing.lmax_unlensed, lensing.lmax
        potential = fiducial["pp"][: self.lmax_unlensed + 1]
        spectra = {p: fiducial[p][: self.lmax_unlensed + 1] for p in ("tt", "te", "ee")}
        self._square, self._to_cl = lensing._square, lensing._to_cl
        sigma2, c2 = lensing._isotropic @ potential, lensing._anisotropic @ potential  # shape: (angle,)
        damping = torch.exp(-0.5 * sigma2[:, None] * self._square)  # shape: (angle, ell)
        sources = self._sources(spectra)
        self._back = lensing._back
        # the two ways in which the potential enters, as rows that act on its change
        self._ways = torch.stack([lensing._isotropic, lensing._anisotropic])  # shape: (2, angle, ell)
        self._kernels, self._slopes = {}, {}
        for name in _SOURCES:
            first, second, third = lensing._kernels[name]
            whole = damping * (first + c2[:, None] * second + (c2**2)[:, None] * third)
            self._kernels[name] = (whole - first) * self._to_cl
            cl = sources[name] * self._to_cl
            by_sigma2 = whole @ (-0.5 * self._square * cl)
            by_c2 = (damping * (second + 2 * c2[:, None] * third)) @ cl
            self._slopes[name] = torch.stack([by_sigma2, by_c2])  # shape: (2, angle)

    @staticmethod
    def _sources(dl: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"t": dl["tt"], "plus": dl["ee"], "minus": dl["ee"], "cross": dl["te"]}

    def __call__(self, change: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the change of lensed tt, te, ee, bb and pp, each of shape (batch, lmax + 1).

        Parameters
        ----------
        change : mapping of str to torch.Tensor
            Change of unlensed tt, te, ee and of pp, each of shape (batch, lmax_unlensed + 1).
        """
        cut = {p: change[p][:, : self.lmax_unlensed + 1] for p in ("tt", "te", "ee", "pp")}
        if cut["tt"].shape[1] != self.lmax_unlensed + 1:
            raise SpectrumError(
                f"lensing response: expected spectra to l = {self.lmax_unlensed}, found l = {cut['tt'].shape[1] - 1}"
            )
        sources = self._sources(cut)
        ways = torch.einsum("bl,wal->wba", cut["pp"], self._ways)  # shape: (2, batch, angle)
        extra = {}
        for name in _SOURCES:
            slopes = self._slopes[name]
            xi = sources[name] @ self._kernels[name].T + ways[0] * slopes[0] + ways[1] * slopes[1]
            extra[name] = xi @ self._back[name]
        out = {p: x[:, : self.lmax + 1] for p, x in cut.items()}
        return {
            "tt": out["tt"] + extra["t"],
            "te": out["te"] + extra["cross"],
            "ee": out["ee"] + (extra["plus"] + extra["minus"]) / 2,
            "bb": (extra["plus"] - extra["minus"]) / 2,
            "pp": out["pp"],
        }
