"""The two things a sky analysis starts from: a map of Stokes parameters and a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.sky.pixelisation import Array, Healpix, Pixelisation, grid_of_nside, nside_of

Record = Mapping[str, Any]

PIECE = 1 << 20
"""Pixels taken at once where all of them would fill gigabytes."""

COORDINATES = {"G": "Galactic", "C": "celestial (equatorial)", "E": "ecliptic"}


def _grid_for(npix: int, given: Pixelisation | None, what: str) -> Pixelisation:
    """Return the grid of a map: the one that is given, or HEALPix, whose nside follows the number of pixels."""
    if given is None or (isinstance(given, Healpix) and given.npix != npix):
        return Healpix(nside_of(npix, what))
    if given.npix != npix:
        raise MapError(f"{what}: {npix} pixels, {given.name} has {given.npix}")
    return given


def _nside(grid: Pixelisation, what: str) -> int:
    if not isinstance(grid, Healpix):
        raise MapError(f"{what}: {grid.name}: this step is made for HEALPix maps and masks alone")
    return grid.nside


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
    """I, Q and U, on a full HEALPix grid unless another is given: uK_CMB, RING, COSMO.

    Attributes
    ----------
    i, q, u : ndarray, shape (npix,)
        Float64, read-only. A pixel without data is NaN.
    coord : str
        "G", "C" or "E".
    name : str
        For messages and products, for example "V".
    history : tuple of mappings
        One JSON-able record for each step that led here, with the key "step".
    polarised : bool
        Whether the map has Q and U at all; where not, they are NaN everywhere.
    pixelisation : Pixelisation, optional
        HEALPix of this many pixels when omitted; `grid` is never None.
    """

    i: Array
    q: Array
    u: Array
    coord: str
    name: str = ""
    history: tuple[Record, ...] = field(default=(), repr=False)
    polarised: bool = True
    pixelisation: Pixelisation | None = None

    @classmethod
    def temperature(
        cls,
        i: Array,
        coord: str,
        name: str = "",
        history: tuple[Record, ...] = (),
        pixelisation: Pixelisation | None = None,
    ) -> StokesMap:
        """Return a map of I alone."""
        nothing = np.broadcast_to(np.nan, np.shape(i))
        return cls(i, nothing, nothing, coord, name, history, polarised=False, pixelisation=pixelisation)

    def __post_init__(self) -> None:
        for key in "iqu":
            object.__setattr__(self, key, _frozen(getattr(self, key)))
        shapes = {key: getattr(self, key).shape for key in "iqu"}
        if len(set(shapes.values())) != 1 or self.i.ndim != 1:
            raise MapError(f"map {self.name!r}: I, Q and U need one shape, found {shapes}")
        grid = _grid_for(self.i.size, self.pixelisation, f"map {self.name!r}")
        object.__setattr__(self, "pixelisation", grid)
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
    def grid(self) -> Pixelisation:
        """The pixels."""
        assert self.pixelisation is not None  # noqa: S101 (set when the object is made)
        return self.pixelisation

    @property
    def nside(self) -> int:
        """HEALPix resolution; :class:`MapError` on another grid."""
        return _nside(self.grid, f"map {self.name!r}")

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
    """Weights in [0, 1], on a full HEALPix grid unless another is given, RING ordered.

    Attributes
    ----------
    weights : ndarray, shape (npix,)
    coord : str
        "G", "C" or "E".
    pixelisation : Pixelisation, optional
        HEALPix of this many pixels when omitted; `grid` is never None.
    """

    weights: Array
    coord: str
    name: str = ""
    history: tuple[Record, ...] = field(default=(), repr=False)
    pixelisation: Pixelisation | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _frozen(self.weights))
        grid = _grid_for(self.weights.size, self.pixelisation, f"mask {self.name!r}")
        object.__setattr__(self, "pixelisation", grid)
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
    def grid(self) -> Pixelisation:
        """The pixels."""
        assert self.pixelisation is not None  # noqa: S101 (set when the object is made)
        return self.pixelisation

    @property
    def nside(self) -> int:
        """HEALPix resolution; :class:`MapError` on another grid."""
        return _nside(self.grid, f"mask {self.name!r}")

    @property
    def support(self) -> NDArray[np.bool_]:
        """Pixels with a weight above zero, shape (npix,)."""
        return self.weights > 0

    def moment(self, power: int) -> float:
        """Return <w^power> over the whole sphere."""
        return self.grid.mean(self.weights**power)

    @property
    def fsky(self) -> float:
        """<w>."""
        return self.moment(1)

    @property
    def fsky_modes(self) -> float:
        """<w^2>^2 / <w^4>: the sky fraction that counts modes (Hivon et al. 2002, eq. 17)."""
        square = self.weights**2
        mean = self.grid.mean(square)
        return mean**2 / self.grid.mean(np.square(square, out=square))

    def step(self, record: Record, **changes: Any) -> Mask:
        """Return a copy with `changes` and one more history record."""
        return replace(self, history=(*self.history, dict(record)), **changes)


def check_together(stokes: StokesMap, mask: Mask) -> None:
    """Raise :class:`MapError` unless map and mask share grid and coordinates."""
    if stokes.grid != mask.grid:
        raise MapError(
            f"map {stokes.name!r} has {stokes.grid.name} but mask {mask.name!r} has {mask.grid.name}: "
            f"bring both to one {'nside' if isinstance(stokes.grid, Healpix) else 'grid'} first"
        )
    if stokes.coord != mask.coord:
        raise MapError(
            f"map {stokes.name!r} is in {COORDINATES[stokes.coord]} coordinates but mask {mask.name!r} in "
            f"{COORDINATES[mask.coord]}: rotate one of them first"
        )


def unit_vectors(nside: int) -> Array:
    """Return the pixel centres as unit vectors, RING, shape (npix, 3)."""
    return Healpix(nside).vectors()


def projected(nside: int | Pixelisation, vector: Array) -> Array:
    """Return the scalar product of every pixel's direction with a vector, RING, shape (npix,).

    Piece by piece: the unit vectors of a whole nside 2048 map would fill a gigabyte.
    """
    grid = grid_of_nside(nside)
    out = np.empty(grid.npix)
    for start in range(0, grid.npix, PIECE):
        pixels = np.arange(start, min(start + PIECE, grid.npix))
        x, y, z = grid.vectors(pixels).T
        out[pixels] = vector[0] * x + vector[1] * y + vector[2] * z
    return out
