"""Calibration, polarisation efficiency and the polarisation angle of a map."""

from __future__ import annotations

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.maps import StokesMap


def calibrate(
    stokes: StokesMap, gain: float = 1.0, efficiency: float = 1.0, angle_deg: float = 0.0
) -> StokesMap:
    """Multiply I by `gain`, Q and U by `gain / efficiency`, and undo a polarisation angle.

    ACT and SPT quote the efficiency as measured / true amplitude, to be divided out, as here; the
    Planck likelihood quotes the inverse (0.9995, 0.999, 0.999 *multiply* Q and U at 100, 143, 217
    GHz): give `efficiency=1 / 0.999` for those.

    Parameters
    ----------
    gain : float
        True / measured temperature.
    efficiency : float
        Measured / true polarisation amplitude after `gain`.
    angle_deg : float
        Angle psi by which the detectors are mis-set, in the COSMO sense: the measured (Q + iU) is the
        true one times exp(2 i psi), which turns E' = E cos 2psi - B sin 2psi; it is turned back.
    """
    for what, value in (("gain", gain), ("polarisation efficiency", efficiency)):
        if not (np.isfinite(value) and 0.1 < value < 10):
            raise MapError(f"map {stokes.name!r}: {what} {value}, expected a number near 1")
    if not np.isfinite(angle_deg):
        raise MapError(f"map {stokes.name!r}: polarisation angle {angle_deg}")
    scale, angle = gain / efficiency, 2 * np.radians(angle_deg)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    record = {"step": "calibrate", "gain": gain, "efficiency": efficiency, "angle_deg": angle_deg}
    return stokes.step(
        record, i=gain * stokes.i, q=c * stokes.q + s * stokes.u, u=c * stokes.u - s * stokes.q
    )
