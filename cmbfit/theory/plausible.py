"""Compare spectra with LCDM: find wrong units, conventions and orders of columns, and name them.

What is looked for are factors of 1e-6 and less, slopes of l^2 and other pairs' shapes, which no
cosmology imitates. So any LCDM that describes the sky serves as reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from cmbfit.errors import SpectrumError
from cmbfit.theory.spectra import Spectra

T_CMB = 2.7255e6
"""Temperature of the CMB in uK (Fixsen 2009), the default of CAMB and CLASS."""

_POINT = (0.02236, 0.1202, 1.0409, 0.0544, 3.045, 0.9649)  # Planck 2018 VI, table 2
_BINS_PER_E_FOLD = 5  # wide: the peaks of other cosmologies lie elsewhere

# Mean |log10 ratio to LCDM|: A_s x 2 gives 0.3, n_s = 1.2 0.4, tau = 0.2 in EE at l < 30 1.1 (and no cause
# fits to better than 0.5); C_l to l = 10, the wrong unit that is hardest to see, 0.7 and a cause that fits to 0.01
_OFF, _FITS, _IMPLAUSIBLE = 0.5, 0.25, 2.0  # _FITS: of what is off, the share that a cause may leave
_ALIKE = {"bb": ("bb", "ee")}  # B of strong tensors has the shape of E
_BB = (1e-3, 1e6)  # power over lensing's in the best bin: of tensors, 1e4 for r = 1


@dataclass(frozen=True)
class Comparison:
    """How a column compares with LCDM.

    Parameters
    ----------
    ratio : numpy.ndarray
        rms of the column over LCDM's, in bins of equal width in ln l.
    ends : (int, int)
        First and last multipole compared.
    cause : str
        What the column most likely holds; "" if nothing that is known describes it much better than
        LCDM's D_l.
    """

    ratio: np.ndarray
    ends: tuple[int, int]
    cause: str

    def __str__(self) -> str:
        first, last, middle = self.ratio[0], self.ratio[-1], np.median(self.ratio)
        cause = f" ({self.cause})" if self.cause else ""
        if max(first, last) < 10 * min(first, last):
            return f"{middle:.3g} times LCDM's{cause}"
        return f"{first:.3g} times LCDM's at l = {self.ends[0]} and {last:.3g} at {self.ends[1]}{cause}"


@cache
def reference() -> Spectra:
    """Return LCDM at Planck 2018's point by the shipped emulator."""
    from cmbfit.theory.emulator.bundle import load_emulator  # noqa: PLC0415  only when there is a text to judge

    return load_emulator("lcdm_planck2018").spectra(torch.tensor([_POINT], dtype=torch.float64))


def _units(pair: str, ell: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each thing that a file may hold in place of our D_l, and its size in units of ours."""
    square, one = ell * (ell + 1), np.ones_like(ell)
    if pair == "pp":
        deflection = 2 * np.pi / square
        yield "C_L^pp: multiply by [L(L+1)]^2/2pi", deflection / square
        yield "L(L+1)C_L^pp/2pi: multiply by L(L+1)", 1 / square
        yield "L(L+1)C_L^pp: multiply by L(L+1)/2pi", deflection
        yield "[L(L+1)]^2 C_L^pp or L^4 C_L^pp: divide by 2pi", 2 * np.pi * one
        yield "L(L+1)C_L^kk/2pi of kappa: multiply by 4/[L(L+1)]", square / 4
        yield "L^4 C_L^pp T_CMB^2 of CAMB's scalCls: divide by 2pi T_CMB^2", 2 * np.pi * T_CMB**2 * one
        return
    if pair == "tt":  # reionisation moves EE and TE as much
        yield "l(l+1)C_l: divide by 2pi", 2 * np.pi * one
    for unit, size in (
        (f"dimensionless: multiply by T_CMB^2 = {T_CMB**2:.3g} uK^2", T_CMB**-2),
        ("K^2: multiply by 1e12", 1e-12),
        ("mK^2: multiply by 1e6", 1e-6),
    ):
        yield unit, size * one
        yield f"C_l, {unit}, and by l(l+1)/2pi", 2 * np.pi / square * size
    yield "C_l, which falls like 1/l^2: multiply by l(l+1)/2pi", 2 * np.pi / square


def _means(x: np.ndarray, ell: np.ndarray) -> np.ndarray:
    """Return the means in bins of equal width in ln l."""
    bins = np.floor(_BINS_PER_E_FOLD * np.log(ell))
    _, index, count = np.unique(bins, return_inverse=True, return_counts=True)
    return np.bincount(index, x) / count


def _rms(x: np.ndarray, ell: np.ndarray) -> np.ndarray:
    return np.sqrt(_means(x**2, ell))


def compare(pair: str, ell: np.ndarray, values: np.ndarray) -> Comparison | None:
    """Compare a column with LCDM, pair by pair and unit by unit.

    Parameters
    ----------
    pair : str
    ell : numpy.ndarray
        Multipoles (of bandpowers: their centres), from 2.
    values : numpy.ndarray
        What is said to be D_l [uK^2] of `pair` there.

    Returns
    -------
    Comparison or None
        None if there is nothing to compare: no LCDM of this pair or range, or zeros.
    """
    lcdm = reference()
    inside = (ell >= 2) & (ell <= lcdm.lmax)
    ell, values = np.asarray(ell[inside], dtype=float), values[inside]
    if pair not in lcdm.dl or not values.any():
        return None
    model = {p: np.interp(ell, np.arange(lcdm.lmax + 1), x[0].numpy()) for p, x in lcdm.dl.items()}
    level = {p: _rms(x, ell) for p, x in model.items()}
    data = _rms(values, ell)
    some = data > 0  # spectra may end in zeros
    ratio = data[some] / level[pair][some]
    others = [p for p in level if p not in _ALIKE.get(pair, (pair,))]
    guesses = {f"it looks like {p.upper()}: columns in another order": level[p] for p in others}
    guesses |= {text: _rms(model[pair] * factor, ell) for text, factor in _units(pair, ell)}
    misfits = {text: _distance(data[some] / guess[some]) for text, guess in guesses.items()}
    best = min(misfits, key=misfits.__getitem__)
    fits = misfits[best] < _FITS * _distance(ratio)
    return Comparison(ratio, (int(ell[0]), int(ell[-1])), best if fits else "")


def _distance(ratio: np.ndarray) -> float:
    return float(np.abs(np.log10(ratio)).mean())


def _implausible(pair: str, got: Comparison) -> bool:
    if got.cause and _distance(got.ratio) > _OFF:
        return True
    if pair == "bb":  # tensors may exceed lensing by far, and end where it does not
        return not _BB[0] < got.ratio.max() < _BB[1]
    return _distance(got.ratio) > _IMPLAUSIBLE


def require_plausible(dl: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse spectra that no plausible cosmology gives, and name what they seem to be.

    The convergence C_L^kk in place of pp (57% more) cannot be told from a cosmology, nor a power of
    tau in EE at l < 30 from a factor of a few.

    Parameters
    ----------
    dl : mapping of str to numpy.ndarray
        Pair to D_l [uK^2], l from 0.
    where : str
        The file, for the message.

    Raises
    ------
    SpectrumError
        If a pair is more than 100 times off LCDM on average, or 3 times and another unit, convention
        or pair describes it; if TE has the opposite sign.
    """
    for pair, x in dl.items():
        ell = np.arange(2.0, len(x))
        got = compare(pair, ell, x[2:])
        if got is None:
            continue
        found = str(got) if _implausible(pair, got) else ""
        if pair == "te" and not found and _opposite(x):
            found = "-1 times LCDM's (E of the other sign)"
        if found:
            raise SpectrumError(
                f"{where}: the {pair.upper()} spectrum is {found}. Expected D_l = l(l+1)C_l/2pi in uK^2, pp as "
                "[L(L+1)]^2 C_L/2pi. If it is right as it is, add the line '# units_checked' on top, or read it "
                "with units_checked=True"
            )


def _opposite(te: np.ndarray) -> bool:
    """Return whether TE is anticorrelated with LCDM's, each bin in l weighing the same."""
    lcdm = reference().dl["te"][0].numpy()
    n = min(len(te), len(lcdm))
    one, two, ell = te[2:n], lcdm[2:n], np.arange(2.0, n)
    size = _rms(one, ell) * _rms(two, ell)
    return bool((_means(one * two, ell) / np.where(size > 0, size, 1)).mean() < -0.5)
