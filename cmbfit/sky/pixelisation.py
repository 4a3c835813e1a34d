"""How pixels lie on the sphere: what a map and a mask know of their grid, and its harmonic sums.

:class:`Healpix` here, :class:`~cmbfit.sky.car.Car` for rings of equal longitudes. Pixels of every grid are numbered ring by
ring from the north, eastwards in each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ducc0
import healpy
import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError

Array = NDArray[np.float64]
Alm = NDArray[np.complex128]


def nside_of(npix: int, what: str) -> int:
    """Return the nside of `npix` pixels or raise :class:`MapError`."""
    nside = round((npix / 12) ** 0.5)
    if 12 * nside**2 != npix or nside == 0 or nside & (nside - 1):
        raise MapError(f"{what}: expected 12 nside^2 pixels with nside a power of two, found {npix}")
    return nside


@lru_cache(maxsize=8)
def geometry(nside: int) -> dict[str, Any]:
    """Return the HEALPix rings in the words of ducc0.sht."""
    return ducc0.healpix.Healpix_Base(nside, "RING").sht_info()


def used_rings(maps: Array, rings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rings on which a map is anything but zero: masked ones add nothing to a pixel sum, but cost as much."""
    first = rings["ringstart"].astype(np.int64)
    used = np.logical_or.reduceat((maps != 0).any(axis=0), first)
    used[0] |= not used.any()  # ducc0 wants a ring
    return {name: values[used] for name, values in rings.items()}


class Pixelisation(ABC):
    """A grid of pixels on the sphere or on a part of it. Grids are equal when their pixels are the same."""

    @property
    @abstractmethod
    def npix(self) -> int:
        """Pixels of a map."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For messages."""

    @property
    @abstractmethod
    def covers_sky(self) -> bool:
        """Whether there are pixels everywhere."""

    @property
    @abstractmethod
    def lmax(self) -> int:
        """Highest multipole of bandpowers."""

    @property
    @abstractmethod
    def lmax_in_words(self) -> str:
        """Where `lmax` comes from, for messages."""

    @property
    @abstractmethod
    def default_lmax(self) -> int:
        """The same where nobody says: two thirds of it."""

    @property
    @abstractmethod
    def derivative_lmax(self) -> int:
        """Above, derivatives of a mask amplify what pixel sums alias."""

    @property
    @abstractmethod
    def pixel_area(self) -> float | Array:
        """Quadrature weight of each pixel in sr: one number, or an array of shape (npix,)."""

    @abstractmethod
    def mean(self, values: NDArray[Any]) -> float:
        """Return the mean over the whole sphere; zero where the grid has no pixels."""

    @abstractmethod
    def vectors(self, pixels: NDArray[np.int64] | None = None) -> Array:
        """Return directions of pixel centres as unit vectors, shape (n, 3); of all when omitted."""

    @abstractmethod
    def neighbours(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the eight neighbours, shape (8, n), -1 where there is none."""

    @abstractmethod
    def outside(self) -> Array:
        """Return directions just beyond the edge of the grid, shape (n, 3): there is no data, whatever a mask says."""

    @abstractmethod
    def highest(self, n_iter: int) -> int:
        """Return the highest l of an analysis; :class:`MapError` where iterations make no sense."""

    @abstractmethod
    def refinements(self, n_iter: int) -> int:
        """Return how many iterations refine a pixel sum as well as `n_iter` do on HEALPix."""

    @abstractmethod
    def coupling_lmax(self, lmax: int) -> int:
        """Return up to where mode coupling is followed for bandpowers up to lmax."""

    @abstractmethod
    def analysis(self, maps: Array, lmax: int, spin: int, nthreads: int = 1, mode: str = "STANDARD") -> Alm:
        """Return sum_p Omega_p m_p Y*_lm(p); `maps` of shape (1 or 2, npix), lmax at least spin, mode as in ducc0.sht."""

    @abstractmethod
    def synthesis(self, alm: Alm, lmax: int, spin: int, nthreads: int = 1, mode: str = "STANDARD") -> Array:
        """Return the maps of coefficients, shape (1 or 2, npix)."""

    @abstractmethod
    def synthesis_where(self, alm: Alm, lmax: int, like: Array, mode: str, nthreads: int = 1) -> Array:
        """Return a spin-1 synthesis, zero on rings where `like` of shape (npix,) is zero everywhere."""

    @property
    def whole_sky_pixels(self) -> float:
        """How many pixels of the mean area the whole sky has: npix of HEALPix."""
        area = self.pixel_area
        return self.npix if isinstance(area, float) else float(4 * np.pi / area.mean())

    def relative_area(self, pixels: NDArray[np.bool_] | None = None) -> float | Array:
        """Return areas over their mean, for fits in which equal parts of the sky count alike; exactly 1 on HEALPix."""
        area = self.pixel_area
        if isinstance(area, float):
            return 1.0
        return (area if pixels is None else area[pixels]) / area.mean()


def grid_of_nside(nside: int | Pixelisation) -> Pixelisation:
    """Return the HEALPix grid of an nside, any other grid as it is."""
    return nside if isinstance(nside, Pixelisation) else Healpix(int(nside))


@dataclass(frozen=True)
class Healpix(Pixelisation):
    """The whole sky in HEALPix pixels, RING."""

    nside: int

    def __post_init__(self) -> None:
        nside_of(12 * self.nside**2, "HEALPix grid")

    @property
    def npix(self) -> int:
        """12 nside^2."""
        return 12 * self.nside**2

    @property
    def name(self) -> str:
        """For messages."""
        return f"nside {self.nside}"

    @property
    def covers_sky(self) -> bool:
        """True."""
        return True

    @property
    def lmax(self) -> int:
        """3 nside - 1."""
        return 3 * self.nside - 1

    @property
    def lmax_in_words(self) -> str:
        """For messages."""
        return "3 nside - 1"

    @property
    def default_lmax(self) -> int:
        """2 nside."""
        return 2 * self.nside

    @property
    def derivative_lmax(self) -> int:
        """2 nside."""
        return 2 * self.nside

    @property
    def pixel_area(self) -> float:
        """4 pi / npix."""
        return 4 * np.pi / self.npix

    def mean(self, values: NDArray[Any]) -> float:
        """Return the mean of the pixels."""
        return float(np.mean(values))

    def vectors(self, pixels: NDArray[np.int64] | None = None) -> Array:
        """Return directions of pixel centres, shape (n, 3)."""
        pixels = np.arange(self.npix) if pixels is None else pixels
        return np.stack(healpy.pix2vec(self.nside, pixels), axis=1)

    def neighbours(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the neighbours, shape (8, n), -1 where a corner has none."""
        found: NDArray[np.int64] = healpy.get_all_neighbours(self.nside, pixels)
        return found

    def outside(self) -> Array:
        """Return nothing, shape (0, 3)."""
        return np.zeros((0, 3))

    def highest(self, n_iter: int) -> int:
        """Return 4 nside, above which iterations do not converge; without them 6 nside - 2, twice 3 nside - 1."""
        return 4 * self.nside if n_iter else 6 * self.nside - 2

    def refinements(self, n_iter: int) -> int:
        """Return `n_iter`."""
        return n_iter

    def coupling_lmax(self, lmax: int) -> int:  # noqa: ARG002
        """Return 3 nside - 1."""
        return self.lmax

    def analysis(self, maps: Array, lmax: int, spin: int, nthreads: int = 1, mode: str = "STANDARD") -> Alm:
        """Return the plain pixel sum times 4 pi / npix."""
        rings = used_rings(maps, geometry(self.nside))
        alm: Alm = ducc0.sht.adjoint_synthesis(
            map=maps, lmax=lmax, spin=spin, mode=mode, nthreads=nthreads, **rings
        )
        alm *= self.pixel_area
        return alm

    def synthesis(self, alm: Alm, lmax: int, spin: int, nthreads: int = 1, mode: str = "STANDARD") -> Array:
        """Return the maps of coefficients, shape (1 or 2, npix)."""
        return ducc0.sht.synthesis(
            alm=alm, lmax=lmax, spin=spin, mode=mode, nthreads=nthreads, **geometry(self.nside)
        )

    def synthesis_where(self, alm: Alm, lmax: int, like: Array, mode: str, nthreads: int = 1) -> Array:
        """Return a spin-1 synthesis, zero on rings where `like` is."""
        out = np.zeros((2, self.npix))
        rings = used_rings(like[None], geometry(self.nside))
        ducc0.sht.synthesis(alm=alm, lmax=lmax, spin=1, mode=mode, map=out, nthreads=nthreads, **rings)
        return out
