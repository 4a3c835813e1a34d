"""Cylindrical (plate carree, CAR) grids: rings of equal latitude steps, the whole sky or a patch of it.

The projection of ACT, SPT and Simons Observatory maps. A transform is a sum over the pixels that there are, each times its
quadrature weight, along rings that are padded with zeros to the whole circle: no pixel is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.sky.pixelisation import Alm, Array, Pixelisation

_BLOCK = 1 << 22
"""Pixels of padded rings at once: 32 MB."""


@lru_cache(maxsize=4)
def _circle_weights(rings: str, n: int) -> Array:
    """Return the weights of all n rings of a Clenshaw-Curtis ("CC") or Fejer ("F1") sphere, whose sum is 4 pi."""
    weights: Array = ducc0.sht.experimental.get_gridweights(rings, n)
    return weights


@dataclass(frozen=True)
class Car(Pixelisation):
    """Square pixels of 360 / `circle` degrees, `rows` of `columns` of them.

    Attributes
    ----------
    circle : int
        Pixels of a whole ring.
    rows, columns : int
    top : float
        Latitude of the northernmost ring in pixels above the equator.
    left : float
        Longitude of the first pixel of each ring, eastwards, in pixels from 0 to `circle`.

    Notes
    -----
    Quadrature weights are those of Clenshaw-Curtis or Fejer's first rule where the rings are some of such a grid (a pixel
    centre, or an edge, on both poles), so that a full sky is exact up to l = circle / 4 - 1; otherwise the area of the pixel,
    dphi (sin(b + d/2) - sin(b - d/2)).
    """

    circle: int
    rows: int
    columns: int
    top: float
    left: float

    def __post_init__(self) -> None:
        quarter = self.circle / 4
        if not (0 < self.columns <= self.circle and self.rows > 0):
            raise MapError(f"CAR grid of {self.rows} x {self.columns} pixels: a whole ring has {self.circle}")
        # a millionth of a pixel is rounding of a header, and equal grids must be equal
        object.__setattr__(self, "top", round(self.top, 6))
        object.__setattr__(self, "left", round(self.left % self.circle, 6) % self.circle)
        if self.top > quarter + 1e-5 or self.top - (self.rows - 1) < -quarter - 1e-5:
            raise MapError(
                f"CAR grid: rings from {self.latitudes[-1]:.6g} to {self.latitudes[0]:.6g} deg: expected -90 to 90"
            )

    @property
    def npix(self) -> int:
        """Rows x columns."""
        return self.rows * self.columns

    @property
    def step_deg(self) -> float:
        """Distance of rings, and of pixels on the equator."""
        return 360 / self.circle

    @property
    def name(self) -> str:
        """For messages."""
        return (
            f"CAR of {self.rows} x {self.columns} pixels of {60 * self.step_deg:.6g} arcmin from latitude "
            f"{self.latitudes[0]:.6g}, longitude {self.left * self.step_deg:.6g} deg"
        )

    @property
    def latitudes(self) -> Array:
        """Latitudes of the rings in degrees, from the north, shape (rows,)."""
        return (self.top - np.arange(self.rows, dtype=np.float64)) * self.step_deg

    @property
    def longitudes(self) -> Array:
        """Longitudes of the columns in degrees, eastwards, shape (columns,)."""
        return (self.left + np.arange(self.columns, dtype=np.float64)) * self.step_deg

    @property
    def whole_rings(self) -> bool:
        """Whether rings go all around."""
        return self.columns == self.circle

    @property
    def covers_sky(self) -> bool:
        """Whether the pixels reach around and to both poles."""
        ends = self.latitudes[0], -self.latitudes[-1]
        return self.whole_rings and min(ends) >= 90 - 0.5 * self.step_deg - 1e-9

    @property
    def lmax(self) -> int:
        """Circle / 2 - 1, where a wave has two pixels."""
        return self.circle // 2 - 1

    @property
    def lmax_in_words(self) -> str:
        """For messages."""
        return f"half of the {self.circle} pixels of a whole ring, less 1"

    @property
    def default_lmax(self) -> int:
        """Circle / 3."""
        return self.circle // 3

    @property
    def derivative_lmax(self) -> int:
        """Circle / 3."""
        return self.circle // 3

    @cached_property
    def areas(self) -> Array:
        """Solid angle of a pixel of each ring in sr, cut at the poles, shape (rows,)."""
        edges = np.clip((self.top + 0.5 - np.arange(self.rows + 1)) * self.step_deg, -90, 90)
        sines = np.sin(np.radians(edges))
        return np.radians(self.step_deg) * (sines[:-1] - sines[1:])

    @cached_property
    def ring_weights(self) -> Array:
        """Quadrature weight of a pixel of each ring in sr, shape (rows,)."""
        above = self.circle / 4 - self.top
        for rings, half, n in (("CC", 0.0, self.circle // 2 + 1), ("F1", 0.5, self.circle // 2)):
            first = round(above - half)
            if self.circle % 2 == 0 and abs(above - half - first) < 1e-5:
                return _circle_weights(rings, n)[first : first + self.rows] / self.circle
        return self.areas

    @property
    def pixel_area(self) -> Array:
        """Quadrature weight of each pixel in sr, shape (npix,)."""
        return np.repeat(self.ring_weights, self.columns)

    def mean(self, values: NDArray[Any]) -> float:
        """Return the integral over the pixels over 4 pi."""
        return float(values.reshape(self.rows, -1).sum(axis=1) @ self.ring_weights / (4 * np.pi))

    def vectors(self, pixels: NDArray[np.int64] | None = None) -> Array:
        """Return directions of pixel centres, shape (n, 3)."""
        pixels = np.arange(self.npix) if pixels is None else pixels
        return _directions(self.latitudes[pixels // self.columns], self.longitudes[pixels % self.columns])

    def pixels_at(self, vectors: Array) -> NDArray[np.int64]:
        """Return the pixel in which each direction of shape (n, 3) lies, -1 beyond the edges."""
        latitude = np.degrees(np.arcsin(np.clip(vectors[:, 2], -1, 1)))
        longitude = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0]))
        row = np.round(self.top - latitude / self.step_deg).astype(np.int64)
        column = np.round(longitude / self.step_deg - self.left).astype(np.int64) % self.circle
        inside = (row >= 0) & (row < self.rows) & (column < self.columns)
        return np.where(inside, row * self.columns + column, -1)

    def neighbours(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the neighbours, shape (8, n); -1 beyond the edges. Over a pole there is none."""
        row, column = pixels // self.columns, pixels % self.columns
        out = []
        for down, east in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            r, c = row + down, column + east
            inside = (r >= 0) & (r < self.rows)
            if self.whole_rings:
                c = c % self.columns
            else:
                inside &= (c >= 0) & (c < self.columns)
            out.append(np.where(inside, r * self.columns + c, -1))
        return np.stack(out)

    def outside(self) -> Array:
        """Return directions one pixel beyond the edges, shape (n, 3)."""
        above = self.latitudes[0] + self.step_deg, self.latitudes[-1] - self.step_deg
        around = (self.left + np.arange(-1, self.columns + 1, dtype=np.float64)) * self.step_deg
        out = [_directions(np.full(around.size, b), around) for b in above if abs(b) <= 90]
        if not self.whole_rings:
            out += [_directions(self.latitudes, np.full(self.rows, x)) for x in (around[0], around[-1])]
        return np.concatenate([np.zeros((0, 3)), *out])

    def highest(self, n_iter: int) -> int:
        """Return circle - 2, twice `lmax`, for what the mode coupling of a mask asks for."""
        if n_iter:
            raise MapError(
                f"{self.name}: {n_iter} iterations of the transform are for HEALPix; on CAR the weights of the pixels do their "
                "work: use none"
            )
        return self.circle - 2

    def refinements(self, n_iter: int) -> int:  # noqa: ARG002
        """Return 0: rings of equal steps sum smooth functions to rounding."""
        return 0

    def coupling_lmax(self, lmax: int) -> int:
        """Return half as much again as bandpowers, at least 500 more: such maps have pixels far below their beams."""
        return min(self.lmax, max(3 * lmax // 2, lmax + 500))

    def analysis(self, maps: Array, lmax: int, spin: int, nthreads: int = 1, mode: str = "STANDARD") -> Alm:
        """Return sum_p Omega_p m_p Y*_lm(p)."""
        cube = maps.reshape(len(maps), self.rows, self.columns)
        used = (cube != 0).any(axis=(0, 2))
        used[0] |= not used.any()  # ducc0 wants a ring
        rows = np.flatnonzero(used)
        theta, factor = np.radians(90 - self.latitudes), self.ring_weights
        if self.whole_rings:
            return ducc0.sht.adjoint_synthesis(
                map=maps, theta=theta[rows], lmax=lmax, spin=spin, mode=mode, nthreads=nthreads,
                ringfactor=factor[rows], ringstart=(rows * self.columns).astype(np.uint64), **self._rings(rows.size),
            )  # fmt: skip
        leg = np.empty((len(maps), rows.size, lmax + 1), dtype=np.complex128)
        for piece in self._pieces(rows.size):
            here = rows[piece]
            padded = np.zeros((len(maps), here.size, self.circle))
            padded[:, :, : self.columns] = cube[:, here]
            leg[:, piece] = ducc0.sht.experimental.map2leg(
                map=padded.reshape(len(maps), -1), mmax=lmax, nthreads=nthreads, ringfactor=factor[here],
                ringstart=(np.arange(here.size) * self.circle).astype(np.uint64), **self._rings(here.size),
            )  # fmt: skip
        return ducc0.sht.experimental.leg2alm(
            leg=leg, lmax=lmax, theta=theta[rows], spin=spin, mode=mode, nthreads=nthreads
        )

    def synthesis(self, alm: Alm, lmax: int, spin: int, nthreads: int = 1, mode: str = "STANDARD") -> Array:
        """Return the maps of coefficients, shape (1 or 2, npix)."""
        return self._synthesis(alm, lmax, spin, np.arange(self.rows), nthreads, mode)

    def synthesis_where(self, alm: Alm, lmax: int, like: Array, mode: str, nthreads: int = 1) -> Array:
        """Return a spin-1 synthesis, zero on rings where `like` is."""
        rows = np.flatnonzero((like.reshape(self.rows, -1) != 0).any(axis=1))
        return self._synthesis(alm, lmax, 1, rows, nthreads, mode)

    def _synthesis(
        self, alm: Alm, lmax: int, spin: int, rows: NDArray[np.int64], nthreads: int, mode: str
    ) -> Array:
        n = 1 if spin == 0 else 2
        out = np.zeros((n, self.rows, self.columns))
        theta = np.radians(90 - self.latitudes[rows])
        leg = ducc0.sht.experimental.alm2leg(
            alm=alm, lmax=lmax, theta=theta, spin=spin, mode=mode, nthreads=nthreads
        )
        for piece in self._pieces(rows.size):
            here = rows[piece]
            made = ducc0.sht.experimental.leg2map(
                leg=leg[:, piece], nthreads=nthreads,
                ringstart=(np.arange(here.size) * self.circle).astype(np.uint64), **self._rings(here.size),
            )  # fmt: skip
            out[:, here] = made.reshape(n, here.size, self.circle)[:, :, : self.columns]
        return out.reshape(n, -1)

    def _rings(self, n: int) -> dict[str, Any]:
        """Return n whole rings in the words of ducc0.sht."""
        return {
            "nphi": np.full(n, self.circle, dtype=np.uint64),
            "phi0": np.full(n, np.radians(self.left * self.step_deg)),
        }

    def _pieces(self, n: int) -> list[slice]:
        size = max(1, _BLOCK // self.circle)
        return [slice(k, min(k + size, n)) for k in range(0, n, size)]

    def window(self, weights: Array, lmax: int) -> Array:
        """Return the pixel window of order 0 (nearest pixel) under a mask, shape (lmax + 1,).

        A map that is the mean of what falls into each pixel is the sky times sinc(k_x dx / 2) sinc(k_y dy / 2), with
        dx = d cos(b), dy = d. Its spectrum under a mask is that of the sky times the mean of the square over directions of
        k and over the mask's squared weight: ACT divides Fourier modes of the map by the same function before, which
        weighs modes otherwise and has the same mean. Good where the mask lets through multipoles much narrower than the
        window varies, l >> 1; of Q and U as of I, which pixels near the poles are not.
        """
        per_ring = np.square(weights).reshape(self.rows, -1).sum(axis=1) * self.ring_weights
        seen = np.flatnonzero(per_ring > 0)
        if seen.size == 0:
            raise MapError("pixel window: the mask keeps nothing")
        phase = (np.arange(32) + 0.5) * np.pi / 64  # a quarter turn says all
        half = (np.arange(lmax + 1) + 0.5) * np.radians(self.step_deg) / (2 * np.pi)
        up = np.sinc(half[:, None] * np.sin(phase)) ** 2
        total = np.zeros(lmax + 1)
        for group in np.array_split(seen, min(seen.size, 48)):
            share = per_ring[group]
            cosine = np.sqrt(share @ np.cos(np.radians(self.latitudes[group])) ** 2 / share.sum())
            across = np.sinc(half[:, None] * cosine * np.cos(phase)) ** 2
            total += share.sum() * (across * up).mean(axis=1)
        return np.sqrt(total / per_ring.sum())


def _directions(latitude: Array, longitude: Array) -> Array:
    b, x = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(b) * np.cos(x), np.cos(b) * np.sin(x), np.sin(b)], axis=-1)
