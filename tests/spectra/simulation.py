"""Simulated skies: healpy's correlated coefficients, Gaussian beams, white noise."""

from __future__ import annotations

from dataclasses import dataclass

import healpy
import numpy as np

from cmbfit.sky import Mask, StokesMap, gaussian_beam
from cmbfit.sky.harmonic import alm2map
from cmbfit.spectra.fields import Noise
from cmbfit.spectra.master import Master, Transfer
from cmbfit.spectra.transforms import SPECTRA, masked_alms, pseudo_spectra

NSIDE, LMAX = 32, 95
EDGES = (2, 5, 9, 14, 20, 27, 35, 44, 54, 65)


def input_dl(*, parity: bool = False) -> dict[str, np.ndarray]:
    """Made-up D_l in uK^2 with structure in l; with `parity`, EB and TB as well."""
    ell = np.arange(LMAX + 1.0)
    dl = {
        "tt": 1000 + 600 * np.exp(-(((ell - 60) / 25) ** 2)),
        "ee": 2 + 20 * (ell / 60) ** 2,
        "bb": 1 + 4 * (ell / 60),
        "te": 40 * np.sin(ell / 12),
    }
    if parity:
        dl |= {"eb": 0.7 * np.sin(ell / 20), "tb": 12 * np.cos(ell / 15)}
    for values in dl.values():
        values[:2] = 0
    return dl


def to_cl(dl: np.ndarray) -> np.ndarray:
    ell = np.arange(dl.size)
    return dl * 2 * np.pi / np.maximum(ell * (ell + 1), 1)


@dataclass
class Sky:
    """Draws pairs of maps with one signal and independent white noise."""

    dl: dict[str, np.ndarray]
    fwhm_arcmin: tuple[float, float] = (30.0, 60.0)
    noise_uk: tuple[float, float] = (6.0, 8.0)
    """Standard deviation of a pixel of Q and U; that of I is 1/sqrt(2) of it."""

    def transfer(self, k: int) -> Transfer:
        beam = gaussian_beam(LMAX, self.fwhm_arcmin[k])
        return Transfer(beam, beam)

    def draw(self, rng: np.random.Generator) -> tuple[StokesMap, StokesMap]:
        np.random.seed(int(rng.integers(2**31)))  # noqa: NPY002 (healpy draws from the global generator)
        zero = np.zeros(LMAX + 1)
        cls = [to_cl(self.dl.get(k, zero)) for k in ("tt", "ee", "bb", "te", "eb", "tb")]
        alms = healpy.synalm(cls, lmax=LMAX, new=True)
        out = []
        for k in range(2):
            beam = gaussian_beam(LMAX, self.fwhm_arcmin[k])
            smooth = [healpy.almxfl(x, beam) for x in alms]
            # test_transforms.py holds alm2map against healpy's, whose threads are slow here
            maps = np.concatenate(
                [alm2map(np.array(smooth[:1]), NSIDE, 0), alm2map(np.array(smooth[1:]), NSIDE, 2)]
            )
            sigma = self.noise_uk[k] * np.array([0.5**0.5, 1, 1])
            maps += sigma[:, None] * rng.standard_normal(maps.shape)
            out.append(StokesMap(*maps, coord="G", name="ab"[k]))
        return out[0], out[1]

    def noise(self, k: int, mask: Mask) -> Noise:
        """White noise as found in a masked map, divided by <w^2>."""
        level = np.full(LMAX + 1, self.noise_uk[k] ** 2 * 4 * np.pi / mask.weights.size)
        return Noise(level / 2, level)


def bandpowers(
    sky: Sky, mask: Mask, master: Master, rng: np.random.Generator, n: int, *, prepare_map=None
) -> np.ndarray:
    """Return (n, 9, bins) bandpowers of simulated skies."""
    out = np.empty((n, len(SPECTRA), master.bins.n))
    for k in range(n):
        maps = sky.draw(rng)
        if prepare_map:
            maps = tuple(prepare_map(m) for m in maps)
        a, b = (masked_alms(m, mask, LMAX) for m in maps)
        found = master.decouple(pseudo_spectra(a, b))
        out[k] = [found[s] for s in SPECTRA]
    return out
