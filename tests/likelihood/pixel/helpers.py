"""Small skies for the pixel likelihood's tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from cmbfit.likelihood.base import DataSetInfo
from cmbfit.sky import Mask
from cmbfit.theory.spectra import Spectra

NSIDE = 4


def info(name: str = "pixels", pairs: tuple[str, ...] = ("tt",), lmax: int = 8) -> DataSetInfo:
    return DataSetInfo(name, name, {"toy": dict.fromkeys(pairs, (2, lmax))}, 1, "none")


def all_spectra(lmax: int = 12) -> dict[str, np.ndarray]:
    """D_l in uK^2 of six spectra, positive as a matrix at every l, none negligible."""
    ell = np.arange(lmax + 1.0)
    ell[0] = 1.0
    tt, ee, bb = 900 + 10 * ell, 300.0 / ell + 20, 80.0 + 0 * ell
    dl = {
        "tt": tt,
        "ee": ee,
        "bb": bb,
        "te": 0.4 * np.sqrt(tt * ee),
        "tb": -0.2 * np.sqrt(tt * bb),
        "eb": 0.3 * np.sqrt(ee * bb),
    }
    return {k: np.where(np.arange(lmax + 1) < 2, 0.0, v) for k, v in dl.items()}


def to_cl(dl: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """C_l by the definition D_l = l (l + 1) C_l / 2 pi."""
    out = {}
    for k, v in dl.items():
        ell = np.arange(len(v))
        out[k] = np.zeros(len(v))
        out[k][1:] = v[1:] * 2 * np.pi / (ell[1:] * (ell[1:] + 1))
    return out


def batch(dl: Mapping[str, np.ndarray], factors: np.ndarray | float = 1.0) -> Spectra:
    scale = torch.atleast_1d(torch.as_tensor(factors, dtype=torch.float64))
    return Spectra({k: scale[:, None] * torch.from_numpy(v)[None] for k, v in dl.items()})


def cap_mask(rng: np.random.Generator, keep: float = 0.8, name: str = "cap") -> Mask:
    """A northern cap with random holes: no pixel has its antipode in the mask."""
    npix = 12 * NSIDE**2
    weights = (np.arange(npix) < npix // 2 - 8) & (rng.random(npix) < keep)
    return Mask(weights.astype(float), coord="G", name=name)
