"""How far theory must reach: to the bins that are wanted, not to the last multipole of the pixels.

Multipoles above the last bin come into it through the mask alone and are solved for in bins of their own, so only the
shape of a spectrum within those bins matters there, and little of that.
"""

from __future__ import annotations

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array
from cmbfit.spectra.master import Spectra

_TAIL = 1e-6
"""Sum of |W| that may lie beyond the end of a theory: a window's sum is one."""


def window_reach(window: Array) -> int:
    """Return the multipole beyond which no row of a window has a sum of |W| above 1e-6.

    Examples
    --------
    >>> window_reach(np.array([[0.0, 0.0, 0.5, 0.5, 1e-8, 1e-8]]))
    3
    """
    tail = np.abs(window)[:, ::-1].cumsum(axis=1)[:, ::-1].max(axis=0)
    beyond = np.flatnonzero(tail > _TAIL)
    return int(beyond[-1]) if beyond.size else 0


def continued_theory(dl: Spectra, need: int, lmax: int) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return theory D_l continued to `lmax`, and what was assumed.

    TT, EE and BB go on as exponentials of their last tenth, never rising; spectra of two fields, whose sign is not
    known, as zero.

    Parameters
    ----------
    need : int
        Multipole that the theory must reach itself: that of the last bin.

    Raises
    ------
    SpectrumError
        When a spectrum ends before `need`.
    """
    out, ends = {}, set()
    for name, values in dl.items():
        end = values.size - 1
        if end < need:
            raise SpectrumError(f"theory {name} up to l = {end}, l = {need} (the last bin) is needed")
        if end >= lmax:
            out[name] = values
            continue
        ends.add(end)
        tail = np.zeros(lmax - end)
        last = values[end - max(2, end // 10) :]
        if name[0] == name[-1] and (last > 0).all():
            slope = min(0.0, float(np.polyfit(np.arange(last.size), np.log(last), 1)[0]))
            tail = last[-1] * np.exp(slope * np.arange(1, lmax - end + 1))
        out[name] = np.concatenate([values, tail])
    if not ends:
        return out, ()
    note = (
        f"the theory ends at l = {min(ends)}; to l = {lmax} TT, EE and BB are taken to fall on as exponentials, other "
        "spectra to be zero"
    )
    return out, (note,)
