"""Constants and conversions that several stages share: one place, SI of 2019."""

from __future__ import annotations

import math
from typing import Any

PLANCK = 6.62607015e-34
"""h [J s], exact."""

BOLTZMANN = 1.380649e-23
"""k [J/K], exact."""

SPEED_OF_LIGHT = 299792458.0
"""c [m/s], exact."""

T_CMB = 2.7255
"""Temperature of the CMB [K] (Fixsen 2009, ApJ 707, 916)."""

T_CMB_UK = 1e6 * T_CMB
"""The same [uK]: dimensionless spectra times its square are in uK^2."""

GHZ_OVER_KELVIN = PLANCK / BOLTZMANN * 1e9
"""h/k [K/GHz]: h nu / (k T) is this times nu [GHz] over T [K]."""


def dl_over_cl(ell: Any) -> Any:
    """Return l(l+1)/2pi, D_l over C_l, of numbers, arrays or tensors of multipoles.

    Examples
    --------
    >>> round(dl_over_cl(2.0), 6)
    0.95493
    """
    return ell * (ell + 1) / (2 * math.pi)
