"""Two fields with different masks, beams and noise, two splits each; skies with known input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import healpy
import numpy as np

from cmbfit.sky import Mask, StokesMap, apodise, gaussian_beam
from cmbfit.sky.harmonic import alm2map
from cmbfit.spectra.fields import Field, noise_from_hits
from cmbfit.spectra.master import Transfer
from cmbfit.spectra.multi import Plan, estimate_bandpowers, field_alms
from cmbfit.spectra.transforms import FieldAlms
from tests.spectra.simulation import LMAX, NSIDE, to_cl

NPIX = 12 * NSIDE**2
BLANK = np.zeros((3, NPIX))


def masks() -> tuple[Mask, Mask]:
    """A galactic cut and three quarters of the sky, tilted against it: f_sky 0.66 and 0.57."""
    x, _, z = healpy.pix2vec(NSIDE, np.arange(NPIX))
    one = Mask((np.abs(z) > 0.2).astype(float), coord="G", name="galactic")
    two = Mask((0.8 * x + 0.6 * z > -0.5).astype(float), coord="G", name="tilted")
    return apodise(one, 10, "C1"), apodise(two, 15, "C1")


def make_fields(n_splits: int = 2, sigma: float = 8.0) -> list[Field]:
    """Field "V" has hits that vary by 4 over the sky, field "W" uniform noise."""
    z = healpy.pix2vec(NSIDE, np.arange(NPIX))[2]
    hits = (1 + 3 * z**2, np.ones(NPIX))
    blank = StokesMap(*BLANK, coord="G")
    out = []
    for k, mask in enumerate(masks()):
        beam = gaussian_beam(LMAX, (40.0, 60.0)[k])
        noise = noise_from_hits(hits[k], sigma / 2**0.5, sigma, LMAX)
        out.append(Field("VW"[k], [blank] * n_splits, mask, Transfer(beam, beam), noise))
    return out


@dataclass
class FieldSky:
    """Draws the coefficients of every split of every field."""

    dl: dict[str, np.ndarray]
    fields: list[Field]

    def draw(self, rng: np.random.Generator) -> dict[str, list[FieldAlms]]:
        np.random.seed(int(rng.integers(2**31)))  # noqa: NPY002 (healpy draws from the global generator)
        zero = np.zeros(LMAX + 1)
        cls = [to_cl(self.dl.get(k, zero)) for k in ("tt", "ee", "bb", "te", "eb", "tb")]
        alms = healpy.synalm(cls, lmax=LMAX, new=True)
        out = {}
        for f in self.fields:
            smooth = [healpy.almxfl(x, f.transfer.t) for x in alms]
            sky = np.concatenate(
                [alm2map(np.array(smooth[:1]), NSIDE, 0), alm2map(np.array(smooth[1:]), NSIDE, 2)]
            )
            splits = []
            for s in range(f.n_splits):
                noise = f.noise_of(s)
                depth = 1.0 if noise.depth is None else noise.depth
                level = np.array([noise.t[2], noise.p[2], noise.p[2]])[:, None] * depth * NPIX / (4 * np.pi)
                splits.append(StokesMap(*(sky + np.sqrt(level) * rng.standard_normal(sky.shape)), coord="G"))
            out[f.name] = field_alms(replace(f, splits=splits), LMAX)
        return out


def simulate(sky: FieldSky, plan: Plan, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return (n, entries, bins) bandpowers."""
    return np.array([estimate_bandpowers(plan, sky.draw(rng)) for _ in range(n)])
