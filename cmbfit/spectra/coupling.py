"""Mode coupling of a masked sky: how the mask mixes multipoles and E with B.

X_{l1 l2} = sum_L (2 L + 1) / (4 pi) W_L (3j products), symmetric in l1, l2; the MASTER matrix is
M_{l1 l2} = (2 l2 + 1) X_{l1 l2}: Hivon et al. 2002 (astro-ph/0105302) eq. A31 for spin 0, Kogut et
al. 2003 (astro-ph/0302213) appendix A for spin 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import ducc0
import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array


@dataclass(frozen=True, eq=False)
class Coupling:
    """The four symmetric coupling matrices, each (l1max + 1, l2max + 1).

    Attributes
    ----------
    x00 : (l1 l2 L; 0 0 0)^2
    x02 : (l1 l2 L; 0 0 0)(l1 l2 L; 2 -2 0)
    xpp : (l1 l2 L; 2 -2 0)^2 for l1 + l2 + L even
    xmm : (l1 l2 L; 2 -2 0)^2 for l1 + l2 + L odd
    """

    x00: Array
    x02: Array
    xpp: Array
    xmm: Array


def coupling(mask_cl: Array, l1max: int, l2max: int | None = None, nthreads: int = 1) -> Coupling:
    """Return the coupling matrices of a mask's pseudo-spectrum.

    Parameters
    ----------
    mask_cl : ndarray, shape (n,)
        Pseudo-spectrum of the mask from L = 0. It must reach l1max + l2max, beyond which the 3j
        symbols vanish; a shorter one would silently lose coupling.
    """
    l2max = l1max if l2max is None else l2max
    if mask_cl.ndim != 1 or mask_cl.size < l1max + l2max + 1:
        raise SpectrumError(
            f"mask spectrum up to {mask_cl.size - 1}: l1max + l2max = {l1max + l2max} is needed"
        )
    spec = np.ascontiguousarray(np.stack([mask_cl] * 3)[:, : l1max + l2max + 1], dtype=np.float64)
    out = np.zeros((4, l1max + 1, l2max + 1))
    lib = ducc0.misc.experimental  # an unstable corner of ducc0: the `_new` spelling may go away
    compute = getattr(lib, "coupling_matrix_rect_new", None) or lib.coupling_matrix_rect
    compute(spec=spec, optype=(0, 1, 4), res=out, nthreads=nthreads)
    return Coupling(*out)


def master_matrix(x: Array) -> Array:
    """Return M_{l1 l2} = (2 l2 + 1) X_{l1 l2}."""
    return x * (2 * np.arange(x.shape[1]) + 1)
