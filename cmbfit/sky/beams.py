"""Beams from files, for T, E and B apart, and the ratio that takes a map from one beam to another.

A beam file never holds the pixel window: multiply by it with :meth:`Beam.times_pixel_window`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cmbfit.errors import MapError
from cmbfit.io import reading
from cmbfit.sky.maps import Array
from cmbfit.sky.table import open_table
from cmbfit.sky.windows import gaussian_beam, read_pixel_window

_T_NAMES = {"T", "TEMPERATURE", "INT_BEAM", "BEAM_TF", "BL", "B_L", "TT_2_TT"}
_E_NAMES = {"E", "GRADIENT", "POL_BEAM", "EE_2_EE"}
_B_NAMES = {"B", "CURL", "BB_2_BB"}

LEAKS = ("t_to_e", "t_to_b")
"""What the E and the B of a map hold of the sky's T."""


@dataclass(frozen=True, eq=False)
class Beam:
    """Transfer functions b_l of T, E and B, each of shape (lmax + 1,), from l = 0.

    Multiplies a_lm; spectra of maps i, j carry b_l^(i) b_l^(j). `t_to_e` and `t_to_b`, where a beam is not the same
    for both polarisations, are what the map's E and B hold of the sky's T: E' = e E + t_to_e T.
    """

    t: Array
    e: Array
    b: Array
    t_to_e: Array | None = None
    t_to_b: Array | None = None

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
        return Beam(t, e, b, **{key: leak[: lmax + 1] for key, leak in self.leaks.items()})

    def __mul__(self, other: Beam) -> Beam:
        """Return the beam seen through another one, which takes no T for E or B."""
        if other.leaks:
            raise MapError("product of beams: expected the second without leakage of T")
        lmax = min(self.lmax, other.lmax)
        after = other.teb[:, : lmax + 1]
        leaks = {key: leak[: lmax + 1] * after[1 + LEAKS.index(key)] for key, leak in self.leaks.items()}
        return Beam(*(self.teb[:, : lmax + 1] * after), **leaks)

    def times_pixel_window(self, path: str | Path) -> Beam:
        """Return the beam times the pixel windows (T and P apart) of a `pixel_window_n*.fits`."""
        t, p = read_pixel_window(path, self.lmax)
        return self * Beam(t, p, p)


def read_beam_text(path: str | Path, lmax: int, columns: tuple[int, ...] = (1,)) -> Beam:
    """Read a text beam: rows "l b_l ..." with `#` comments, from l = 0 or 1 or 2 upwards without gaps.

    WMAP's `wmap_ampl_bl_{DA}_9yr_v5p1.txt` has l, b_l, error: the default columns fit.

    Parameters
    ----------
    columns : (t,) or (t, p) or (t, e, b)
        Indices of the columns of T, E and B; a missing one repeats the one before.

    Raises
    ------
    MapError
        When rows skip a multipole, end before `lmax`, are not numbers or do not start near b = 1.
    """
    path = Path(path)
    with reading(path, f"rows 'l b_l ...' with columns {columns}", MapError):
        rows = np.loadtxt(path, ndmin=2)
        ell, values = rows[:, 0], [rows[:, c] for c in columns]
        start = int(ell[0])
    if start not in {0, 1, 2} or not np.array_equal(ell, start + np.arange(ell.size)):
        raise MapError(f"{path}: the first column must count l from 0, 1 or 2 without gaps")
    # multipoles before the first row: the beam is flat there to l^2 sigma^2
    filled = [np.concatenate([np.full(start, v[0]), v]) for v in values]
    return _checked(filled, lmax, path)


def read_beam_fits(
    path: str | Path, lmax: int, hdus: tuple[int | str, ...] = (1,), *, leakage: bool = False
) -> Beam:
    """Read a FITS beam: HFI `Bl_T_*` and `Bl_TEB_*`, `Wl_*` (square roots of TT_2_TT, ...), component maps.

    Columns are found by name in the given HDUs; E falls back on T and B on E where a file has none.

    Parameters
    ----------
    hdus : tuple
        `Wl_R3.01_*` keeps each spectrum in its own HDU: give ("TT", "EE", "BB").
    leakage : bool
        Read TT_2_TE of `Wl_*` as well, and TT_2_TB where it is: t_to_e = TT_2_TE / b^T.
    """
    path = Path(path)
    found: dict[str, Array] = {}
    seen = []
    for hdu in hdus:
        with open_table(path, hdu) as table:
            for name in table.columns.names:
                upper = name.strip().upper()
                seen.append(upper)
                if leakage and upper in {"TT_2_TE", "TT_2_TB"}:
                    found[upper] = np.asarray(table.data.field(name), dtype=np.float64).ravel()
                for key, known in zip("TEB", (_T_NAMES, _E_NAMES, _B_NAMES), strict=True):
                    if upper in known:
                        values = np.asarray(table.data.field(name), dtype=np.float64).ravel()
                        if "_2_" in upper:  # W_l = b_l^2
                            if (values < 0).any():
                                raise MapError(f"{path}: {upper} is below zero, it cannot be a squared beam")
                            values = np.sqrt(values)
                        found[key] = values
    if "T" not in found:
        raise MapError(
            f"{path}: no temperature beam among the columns {seen}, expected one of {sorted(_T_NAMES)}"
        )
    e = found.get("E", found["T"])
    beam = _checked([found["T"], e, found.get("B", e)], lmax, path)
    return replace(beam, **_leaks(found, beam, path)) if leakage else beam


def _leaks(found: dict[str, Array], beam: Beam, path: Path) -> dict[str, Array]:
    """Return `t_to_e`, and `t_to_b` where the file has it, from TT_2_TE and TT_2_TB."""
    if "TT_2_TE" not in found:
        raise MapError(f"{path}: no column TT_2_TE, which leakage from T to E needs")
    out, size = {}, beam.t.size
    for key, column in zip(LEAKS, ("TT_2_TE", "TT_2_TB"), strict=True):
        if column in found:
            if found[column].size < size:
                raise MapError(
                    f"{path}: {column} up to l = {found[column].size - 1}, l = {size - 1} is needed"
                )
            out[key] = np.divide(found[column][:size], beam.t, out=np.zeros(size), where=beam.t > 1e-6)
    return out


def _checked(values: list[Array], lmax: int, path: Path) -> Beam:
    for v in values:
        if v.size <= lmax:
            raise MapError(f"{path}: beam up to l = {v.size - 1}, l = {lmax} is needed")
    t, *rest = [v[: lmax + 1] for v in values]
    e = rest[0] if rest else t
    b = rest[1] if len(rest) > 1 else e
    if not 0.9 < t[min(2, lmax)] < 1.1:
        raise MapError(
            f"{path}: the temperature beam is {t[min(2, lmax)]:g} at low l, expected 1 (normalise it)"
        )
    return Beam(t, e, b)


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
