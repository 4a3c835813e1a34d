"""Beams for T, E and B apart, and the ratio that takes a map from one beam to another.

Files are read by :mod:`cmbfit.sky.beam_files`. A beam file never holds the pixel window: multiply by it with
:meth:`Beam.times_pixel_window`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.maps import Array
from cmbfit.sky.windows import gaussian_beam, read_pixel_window

LEAKS = ("t_to_e", "t_to_b")
"""What the E and the B of a map hold of the sky's T."""


@dataclass(frozen=True, eq=False)
class Beam:
    """Transfer functions b_l of T, E and B, each of shape (lmax + 1,), from l = 0.

    Multiplies a_lm; spectra of maps i, j carry b_l^(i) b_l^(j). `t_to_e` and `t_to_b`, where a beam is not the same
    for both polarisations, are what the map's E and B hold of the sky's T: E' = e E + t_to_e T. `notes` say what a file left open and what was
    taken in its place.
    """

    t: Array
    e: Array
    b: Array
    t_to_e: Array | None = None
    t_to_b: Array | None = None
    notes: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for key in ("t", "e", "b", *LEAKS):
            if getattr(self, key) is None:
                continue
            values = np.array(getattr(self, key), dtype=np.float64)
            values.flags.writeable = False
            object.__setattr__(self, key, values)
            if values.ndim != 1 or values.size == 0 or values.shape != np.shape(self.t):
                raise MapError(f"beam {key}: shape {values.shape}, T, E and B need one length")
            if not np.isfinite(values).all():
                raise MapError(f"beam {key}: {int((~np.isfinite(values)).sum())} non-finite values")

    @classmethod
    def gaussian(cls, lmax: int, fwhm_arcmin: float) -> Beam:
        """Return a Gaussian beam; E and B carry the spin-2 factor exp(2 sigma^2).

        Challinor et al. 2000 (astro-ph/0008228): b_l^E = exp(-(l(l+1) - 4) sigma^2 / 2).
        """
        t = gaussian_beam(lmax, fwhm_arcmin)
        sigma = np.radians(fwhm_arcmin / 60) / np.sqrt(8 * np.log(2))
        p = t * np.exp(2 * sigma**2)
        p[:2] = 0.0
        return cls(t, p, p)

    @classmethod
    def unit(cls, lmax: int) -> Beam:
        """Return ones."""
        one = np.ones(lmax + 1)
        return cls(one, one, one)

    @property
    def lmax(self) -> int:
        """Highest multipole."""
        return self.t.size - 1

    @property
    def p(self) -> Array:
        """The E-mode function, for code that knows one polarised beam."""
        return self.e

    @property
    def leaks(self) -> dict[str, Array]:
        """Those of `t_to_e` and `t_to_b` that there are."""
        return {key: getattr(self, key) for key in LEAKS if getattr(self, key) is not None}

    @property
    def teb(self) -> Array:
        """Array of shape (3, lmax + 1)."""
        return np.stack([self.t, self.e, self.b])

    def cut(self, lmax: int) -> Beam:
        """Return the beam up to `lmax`."""
        if lmax > self.lmax:
            raise MapError(f"beam up to l = {self.lmax}, l = {lmax} is needed")
        t, e, b = self.teb[:, : lmax + 1]
        leaks = [None if x is None else x[: lmax + 1] for x in (self.t_to_e, self.t_to_b)]
        return Beam(t, e, b, leaks[0], leaks[1], self.notes)

    def __mul__(self, other: Beam) -> Beam:
        """Return the beam seen through another one, which takes no T for E or B."""
        if other.leaks:
            raise MapError("product of beams: expected the second without leakage of T")
        lmax = min(self.lmax, other.lmax)
        after = other.teb[:, : lmax + 1]
        t, e, b = self.teb[:, : lmax + 1] * after
        pairs = zip((self.t_to_e, self.t_to_b), after[1:], strict=True)
        leaks = [None if x is None else x[: lmax + 1] * y for x, y in pairs]
        return Beam(t, e, b, leaks[0], leaks[1], self.notes)

    def times_pixel_window(self, path: str | Path) -> Beam:
        """Return the beam times the pixel windows (T and P apart) of a `pixel_window_n*.fits`."""
        t, p = read_pixel_window(path, self.lmax)
        return self * Beam(t, p, p)


def beam_ratio(old: Beam, new: Beam, lmax: int, floor: float = 1e-3) -> Beam:
    """Return new / old up to `lmax`: what to multiply a_lm by to go from one beam to another.

    Where the old beam is below `floor` there is no signal left to recover: the ratio is 0 there
    rather than noise blown up by 1 / floor or more. Values of l with old = 0 (component maps have
    b[0] = 0, E and B have none at l < 2) fall under the same rule.

    Raises
    ------
    MapError
        When the new beam still wants signal (above 10 floor) where the old one is under the floor
        at l >= 2: the target is too sharp.
    """
    if not 0 < floor < 1:
        raise MapError(f"deconvolution floor {floor}: expected a number between 0 and 1")
    a, b = old.cut(lmax).teb, new.cut(lmax).teb
    below = np.abs(a) < floor
    lost = below & (np.abs(b) > 10 * floor)
    lost[:, :2] = False
    if lost.any():
        worst = int(np.flatnonzero(lost.any(axis=0))[0])
        raise MapError(
            f"deconvolution: from l = {worst} the map's beam is below {floor:g} but the target asks for "
            f"{np.abs(b[:, worst]).max():.3g}; take a wider target beam or a lower lmax"
        )
    return Beam(*np.where(below, 0.0, b / np.where(below, 1.0, a)))
