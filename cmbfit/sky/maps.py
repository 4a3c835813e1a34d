"""The two things a sky analysis starts from: a map of Stokes parameters and a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import healpy
import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError

Array = NDArray[np.float64]
Record = Mapping[str, Any]

PIECE = 1 << 20
"""Pixels taken at once where all of them would fill gigabytes."""

COORDINATES = {"G": "Galactic", "C": "celestial (equatorial)", "E": "ecliptic"}


def nside_of(npix: int, what: str) -> int:
    """Return the nside of `npix` pixels or raise :class:`MapError`."""
    nside = round((npix / 12) ** 0.5)
    if 12 * nside**2 != npix or nside == 0 or nside & (nside - 1):
        raise MapError(f"{what}: expected 12 nside^2 pixels with nside a power of two, found {npix}")
    return nside


def _frozen(values: NDArray[Any]) -> Array:
    if values.dtype == np.float64 and values.strides == (0,) and not values.flags.writeable:
        return values  # one number for all pixels
    if values.dtype == np.float64 and values.base is None and not values.flags.writeable:
        return values  # frozen already: a step that changes I copies neither Q nor U
    out = np.array(values, dtype=np.float64)  # native byte order, own memory
    out.flags.writeable = False
    return out


@dataclass(frozen=True, eq=False)
class StokesMap:
    """I, Q and U on a full HEALPix grid: uK_CMB, RING, COSMO.

    Attributes
    ----------
    i, q, u : ndarray, shape (12 nside^2,)
        Float64, read-only. A pixel without data is NaN.
    coord : str
        "G", "C" or "E".
    name : str
        For messages and products, for example "V".
    history : tuple of mappings
        One JSON-able record for each step that led here, with the key "step".
    polarised : bool
        Whether the map has Q and U at all; where not, they are NaN everywhere.
    """

    i: Array
    q: Array
    u: Array
    coord: str
    name: str = ""
    history: tuple[Record, ...] = field(default=(), repr=False)
    polarised: bool = True

    @classmethod
    def temperature(cls, i: Array, coord: str, name: str = "", history: tuple[Record, ...] = ()) -> StokesMap:
        """Return a map of I alone."""
        nothing = np.broadcast_to(np.nan, np.shape(i))
        return cls(i, nothing, nothing, coord, name, history, polarised=False)

    def __post_init__(self) -> None:
        for key in "iqu":
            object.__setattr__(self, key, _frozen(getattr(self, key)))
        shapes = {key: getattr(self, key).shape for key in "iqu"}
        if len(set(shapes.values())) != 1 or self.i.ndim != 1:
            raise MapError(f"map {self.name!r}: I, Q and U need one shape, found {shapes}")
        nside_of(self.i.size, f"map {self.name!r}")
        if self.coord not in COORDINATES:
            raise MapError(
                f"map {self.name!r}: coordinates {self.coord!r}, expected one of {sorted(COORDINATES)}"
            )
        if any(np.isinf(getattr(self, key)).any() for key in "iqu"):
            raise MapError(f"map {self.name!r}: infinite values; missing pixels must be UNSEEN or NaN")

    @property
    def iqu(self) -> Array:
        """Array of shape (3, npix)."""
        return np.stack([self.i, self.q, self.u])

    @property
    def nside(self) -> int:
        """HEALPix resolution."""
        return nside_of(self.i.size, "map")

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Pixels in which any of I, Q, U (or I, where the map has no other) has no data, shape (npix,)."""
        if not self.polarised:
            return np.isnan(self.i)
        # none is infinite, so a sum is NaN where a term is
        return np.asarray(np.isnan(self.i + self.q + self.u))

    def step(self, record: Record, **changes: Any) -> StokesMap:
        """Return a copy with `changes` and one more history record."""
        return replace(self, history=(*self.history, dict(record)), **changes)


@dataclass(frozen=True, eq=False)
class Mask:
    """Weights in [0, 1] on a full HEALPix grid, RING ordered.

    Attributes
    ----------
    weights : ndarray, shape (12 nside^2,)
    coord : str
        "G", "C" or "E".
    """

    weights: Array
    coord: str
    name: str = ""
    history: tuple[Record, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _frozen(self.weights))
        nside_of(self.weights.size, f"mask {self.name!r}")
        if self.coord not in COORDINATES:
            raise MapError(
                f"mask {self.name!r}: coordinates {self.coord!r}, expected one of {sorted(COORDINATES)}"
            )
        if not np.isfinite(self.weights).all():
            raise MapError(f"mask {self.name!r}: non-finite weights, expected numbers in [0, 1]")
        low, high = self.weights.min(), self.weights.max()
        if low < 0 or high > 1:
            raise MapError(f"mask {self.name!r}: weights from {low:g} to {high:g}, expected [0, 1]")
        if high == 0:
            raise MapError(f"mask {self.name!r}: no sky is left")

    @property
    def nside(self) -> int:
        """HEALPix resolution."""
        return nside_of(self.weights.size, "mask")

    @property
    def support(self) -> NDArray[np.bool_]:
        """Pixels with a weight above zero, shape (npix,)."""
        return self.weights > 0

    def moment(self, power: int) -> float:
        """Return <w^power> over the whole sphere."""
        return float(np.mean(self.weights**power))

    @property
    def fsky(self) -> float:
        """<w>."""
        return self.moment(1)

    @property
    def fsky_modes(self) -> float:
        """<w^2>^2 / <w^4>: the sky fraction that counts modes (Hivon et al. 2002, eq. 17)."""
        square = self.weights**2
        return float(np.mean(square) ** 2 / np.mean(np.square(square, out=square)))

    def step(self, record: Record, **changes: Any) -> Mask:
        """Return a copy with `changes` and one more history record."""
        return replace(self, history=(*self.history, dict(record)), **changes)


def check_together(stokes: StokesMap, mask: Mask) -> None:
    """Raise :class:`MapError` unless map and mask share nside and coordinates."""
    if stokes.nside != mask.nside:
        raise MapError(
            f"map {stokes.name!r} has nside {stokes.nside} but mask {mask.name!r} has nside {mask.nside}: "
            "bring both to one nside first"
        )
    if stokes.coord != mask.coord:
        raise MapError(
            f"map {stokes.name!r} is in {COORDINATES[stokes.coord]} coordinates but mask {mask.name!r} in "
            f"{COORDINATES[mask.coord]}: rotate one of them first"
        )


def unit_vectors(nside: int) -> Array:
    """Return the pixel centres as unit vectors, RING, shape (npix, 3)."""
    return np.stack(healpy.pix2vec(nside, np.arange(12 * nside**2)), axis=1)


def projected(nside: int, vector: Array) -> Array:
    """Return the scalar product of every pixel's direction with a vector, RING, shape (npix,).

    Piece by piece: the unit vectors of a whole nside 2048 map would fill a gigabyte.
    """
    npix = 12 * nside**2
    out = np.empty(npix)
    for start in range(0, npix, PIECE):
        pixels = np.arange(start, min(start + PIECE, npix))
        x, y, z = healpy.pix2vec(nside, pixels)
        out[pixels] = vector[0] * x + vector[1] * y + vector[2] * z
    return out
