"""Seeded simulated skies: CMB, foregrounds, beams, noise from hits with a 1/f part, and splits.

Every random part has its own stream, SeedSequence(seed, (kind, index, band, split)): a sky is the
same whatever was drawn before it, in whatever order, by however many processes.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.sky.beams import Beam
from cmbfit.sky.foregrounds import Foreground, white_alm
from cmbfit.sky.harmonic import Alm, alm2stokes, ell_of, lmax_of, scale_alm
from cmbfit.sky.maps import Array, StokesMap
from cmbfit.sky.pixelisation import Healpix, Pixelisation, grid_of_nside

_KINDS = {"cmb": 0, "noise": 1, "foregrounds": 2}
_PAIRS = {"tt": (0, 0), "ee": (1, 1), "bb": (2, 2), "te": (0, 1), "tb": (0, 2), "eb": (1, 2)}


def stream(seed: int, kind: str, index: int = 0, label: str = "", split: int = 0) -> np.random.Generator:
    """Return the generator of one random part; `label` is a band or foreground name."""
    if kind not in _KINDS or min(seed, index, split) < 0:
        raise MapError(
            f"random stream {(seed, kind, index, split)}: expected {sorted(_KINDS)} and numbers from 0"
        )
    key = (_KINDS[kind], index, zlib.crc32(label.encode()), split)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def draw_alm(dl: Mapping[str, Array], lmax: int, rng: np.random.Generator) -> Alm:
    """Draw T, E, B coefficients with the given spectra.

    Parameters
    ----------
    dl : mapping
        D_l = l(l+1) C_l / 2 pi in uK^2 from l = 0, keys among tt, ee, bb, te, tb, eb; absent is zero.

    Returns
    -------
    ndarray, shape (3, alm_size(lmax))
        In uK; zero at l = 0 and 1.

    Raises
    ------
    MapError
        For unknown keys, short or non-finite spectra, or a matrix of spectra that is not positive
        (TE^2 > TT EE, negative BB).
    """
    matrix = np.zeros((lmax + 1, 3, 3))
    ell = np.arange(lmax + 1)
    factor = np.zeros(lmax + 1)
    factor[2:] = 2 * np.pi / (ell[2:] * (ell[2:] + 1))
    for name, values in dl.items():
        if name not in _PAIRS:
            raise MapError(f"simulated sky: spectrum {name!r}, expected some of {sorted(_PAIRS)}")
        if len(values) <= lmax or not np.isfinite(values[: lmax + 1]).all():
            raise MapError(
                f"simulated sky: {name} needs {lmax + 1} finite D_l from l = 0, found {len(values)}"
            )
        i, j = _PAIRS[name]
        matrix[:, i, j] = matrix[:, j, i] = factor * values[: lmax + 1]
    power, axes = np.linalg.eigh(matrix)
    bad = power.min(axis=1) < -1e-10 * np.abs(power).max(axis=1)
    if bad.any():
        raise MapError(
            f"simulated sky: the spectra are no covariance at l = {int(np.flatnonzero(bad)[0])} (TE^2 > TT EE, or BB < 0)"
        )
    root = axes * np.sqrt(np.clip(power, 0, None))[:, None, :]
    root = root @ axes.transpose(0, 2, 1)  # the symmetric root does not depend on the signs of eigenvectors
    return np.einsum("nij,jn->in", root[ell_of(lmax)], white_alm(rng, lmax))


def _red(ell: NDArray[np.int64], knee: float, alpha: float, first: int) -> Array:
    """Return (knee / l)^alpha from l = `first`, zero below it and without a knee."""
    return np.where((ell >= first) & (knee > 0), (knee / np.maximum(ell, 1)) ** alpha, 0.0)


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of one band.

    Attributes
    ----------
    sigma_t, sigma_p : float
        Rms in uK of one observation of a pixel in I, and in Q and U.
    hits : ndarray, shape (npix,), optional
        Observations per pixel (1 when absent): white rms sigma / sqrt(hits).
    knee_t, knee_p, alpha : float
        Spectrum of the noise before it is divided by sqrt(hits): white x (1 + (l_knee / l)^alpha).
    """

    sigma_t: float
    sigma_p: float
    hits: Array | None = field(default=None, repr=False)
    knee_t: float = 0.0
    knee_p: float = 0.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if min(self.sigma_t, self.sigma_p, self.knee_t, self.knee_p) < 0:
            raise MapError(f"noise {self}: amplitudes and knees must be from 0")
        if self.hits is not None and not (np.asarray(self.hits) > 0).all():
            raise MapError("noise: hits must be above zero in every pixel; mask unobserved ones afterwards")

    def variance(self, nside: int | Pixelisation) -> Array:
        """Return the white variance of I, Q, U in uK^2, shape (3, npix)."""
        return np.square([[self.sigma_t], [self.sigma_p], [self.sigma_p]]) / self._hits(nside)

    def _hits(self, nside: int | Pixelisation) -> Array:
        npix = grid_of_nside(nside).npix
        hits = np.ones(npix) if self.hits is None else np.asarray(self.hits, dtype=np.float64)
        if hits.shape != (npix,):
            raise MapError(f"noise: hits of shape {hits.shape}, {grid_of_nside(nside).name} needs ({npix},)")
        return hits

    def spectrum(self, lmax: int, nside: int) -> Array:
        """Return C_l of I and of E (or B) for unit hits, uK^2, shape (2, lmax + 1).

        The red part starts at l = 1 for I and at l = 2 for E and B.
        """
        area = 4 * np.pi / (12 * nside**2)
        ell = np.arange(lmax + 1)
        return np.stack(
            [
                self.sigma_t**2 * area * (1 + _red(ell, self.knee_t, self.alpha, 1)),
                self.sigma_p**2 * area * (1 + _red(ell, self.knee_p, self.alpha, 2)),
            ]
        )

    def draw(self, nside: int | Pixelisation, rng: np.random.Generator) -> Array:
        """Return one realisation of I, Q, U in uK, shape (3, npix).

        The white part is drawn per pixel, exact at every scale; the red part has l from 1 (T) or 2
        up to 3 nside - 1, or the highest multipole of another grid. `nside` may be a grid; sigma is that of a pixel, however
        large, and red noise has the same knee everywhere.
        """
        grid = grid_of_nside(nside)
        npix, lmax = grid.npix, grid.lmax
        unit = rng.standard_normal((3, npix))
        if self.knee_t > 0 or self.knee_p > 0:
            equal, ell = isinstance(grid, Healpix), np.arange(lmax + 1)
            area = 4 * np.pi / npix if equal else 1.0
            red = white_alm(rng, lmax)
            for row, knee in enumerate((self.knee_t, self.knee_p, self.knee_p)):
                power = area * _red(ell, knee, self.alpha, 1 if row == 0 else 2)
                red[row] = scale_alm(red[row], np.sqrt(power))
            made = alm2stokes(red, grid)
            unit += made if equal else made * np.sqrt(grid.pixel_area)
        unit /= np.sqrt(self._hits(nside))
        unit *= [[self.sigma_t], [self.sigma_p], [self.sigma_p]]
        return unit


@dataclass(frozen=True, eq=False)
class Band:
    """A frequency band: name, frequency, beam (times pixel window when wanted) and noise."""

    name: str
    frequency_ghz: float
    beam: Beam
    noise: Noise


@dataclass(frozen=True, eq=False)
class Simulation:
    """Simulated skies of several bands.

    Attributes
    ----------
    nside : int or Pixelisation
        Resolution of HEALPix maps, or another grid.
    lmax : int
    dl : mapping
        Theory D_l in uK^2 from l = 0; see :func:`draw_alm`.
    foregrounds : sequence of Foreground
        Fixed over realisations.
    seed : int

    Examples
    --------
    >>> band = Band("W", 94.0, Beam.gaussian(16, 120.0), Noise(1.0, 1.4))
    >>> sims = Simulation(8, 16, {"tt": np.full(17, 1000.0)}, seed=1)
    >>> sims.sky(band, index=3).nside
    8
    """

    nside: int | Pixelisation
    lmax: int
    dl: Mapping[str, Array]
    foregrounds: Sequence[Foreground] = ()
    seed: int = 0
    coord: str = "G"

    def __post_init__(self) -> None:
        for f in self.foregrounds:
            if lmax_of(f.alm) != self.lmax:
                raise MapError(f"simulation: {f.name} has lmax {lmax_of(f.alm)}, expected {self.lmax}")

    def cmb_alm(self, index: int) -> Alm:
        """Return T, E, B of the CMB of realisation `index`, no beam."""
        return draw_alm(self.dl, self.lmax, stream(self.seed, "cmb", index))

    def sky_alm(self, band: Band, index: int, parts: Collection[str] = ("cmb", "foregrounds")) -> Alm:
        """Return T, E, B of the signal in uK_CMB with the band's beam."""
        total = np.zeros((3, ell_of(self.lmax).size), dtype=np.complex128)
        if "cmb" in parts:
            total += self.cmb_alm(index)
        if "foregrounds" in parts:
            for f in self.foregrounds:
                total += f.at(band.frequency_ghz)
        return np.stack([scale_alm(a, b) for a, b in zip(total, band.beam.teb, strict=True)])

    def sky(
        self,
        band: Band,
        index: int = 0,
        split: int = 0,
        n_splits: int = 1,
        parts: Collection[str] = ("cmb", "foregrounds", "noise"),
    ) -> StokesMap:
        """Return one map in uK_CMB.

        Each of `n_splits` splits has n_splits times the noise variance and its own noise; the mean
        of the splits has the band's noise.
        """
        unknown = set(parts) - set(_KINDS)
        if unknown or not 0 <= split < n_splits:
            raise MapError(
                f"simulated sky: parts {sorted(unknown)} unknown or split {split} not below {n_splits}; "
                f"expected parts among {sorted(_KINDS)}"
            )
        iqu = alm2stokes(self.sky_alm(band, index, parts), self.nside)
        if "noise" in parts:
            rng = stream(self.seed, "noise", index, band.name, split)
            iqu += np.sqrt(n_splits) * band.noise.draw(self.nside, rng)
        record = {
            "step": "simulate",
            "seed": self.seed,
            "index": index,
            "band": band.name,
            "frequency_ghz": band.frequency_ghz,
            "split": [split, n_splits],
            "parts": sorted(parts),
            "lmax": self.lmax,
        }
        i, q, u = iqu
        grid = grid_of_nside(self.nside)
        return StokesMap(i, q, u, coord=self.coord, name=band.name, history=(record,), pixelisation=grid)
