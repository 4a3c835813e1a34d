"""Stokes parameters of light: definitions, rotation, polarised intensity and angle.

For the complex amplitudes E_x, E_y of a wave (Jackson, section 7.2; Hamaker & Bregman 1996):

    I = <|E_x|^2 + |E_y|^2>,  Q = <|E_x|^2 - |E_y|^2>,  U = 2 Re <E_x E_y*>,  V = -2 Im <E_x E_y*>.

The sign of V is a convention. All four are real; I^2 >= Q^2 + U^2 + V^2, with equality for fully polarised
light. Q and U turn into each other under rotations of the axes, I and V do not change: V cannot be had
from Q and U.
"""

from __future__ import annotations

import numpy as np

from cmbfit.errors import MapError


def stokes_from_field(
    ex: np.ndarray, ey: np.ndarray, axis: int = -1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return I, Q, U, V of complex amplitudes, averaged over `axis` (time).

    Parameters
    ----------
    ex, ey : numpy.ndarray, complex
    axis : int
    """
    xx, yy = (np.mean(np.abs(e) ** 2, axis) for e in (ex, ey))
    xy = np.mean(ex * np.conj(ey), axis)
    return xx + yy, xx - yy, 2 * xy.real, -2 * xy.imag


def require_physical(i: np.ndarray, q: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    """Raise :class:`MapError` unless I^2 >= Q^2 + U^2 + V^2 and I >= 0 (up to rounding)."""
    excess = np.sqrt(np.square(q) + np.square(u) + np.square(v)) - i
    if np.any(~(excess <= 1e-12 * np.abs(i))):
        raise MapError(
            f"Stokes parameters: expected I >= sqrt(Q^2 + U^2 + V^2), exceeded by up to {np.nanmax(excess):g}; "
            "differences from a mean (CMB maps) have no such bound"
        )


def rotate_axes(q: np.ndarray, u: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Q, U for axes rotated by `angle` [rad]: (Q + iU)' = exp(-2i angle) (Q + iU), spin 2."""
    p = (np.asarray(q) + 1j * np.asarray(u)) * np.exp(-2j * angle)
    return p.real, p.imag


def rotate_polarisation(q: np.ndarray, u: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Q, U of light whose plane of polarisation turned by `angle` [rad] (birefringence): the inverse."""
    return rotate_axes(q, u, -angle)


def polarisation_angle(q: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return psi = atan2(U, Q)/2 in (-pi/2, pi/2]."""
    psi = 0.5 * np.arctan2(u, q)
    return np.where(psi <= -np.pi / 2, np.pi / 2, psi)


def polarised_intensity(q: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return P = sqrt(Q^2 + U^2), which noise biases: <P^2> = P0^2 + sigma_Q^2 + sigma_U^2."""
    return np.hypot(q, u)


def debiased_intensity(q: np.ndarray, u: np.ndarray, sigma: np.ndarray | float) -> np.ndarray:
    """Return sqrt(max(P^2 - sigma^2, 0)) for noise `sigma` in each of Q and U (Simmons & Stewart 1985).

    For plots. Likelihoods use Q and U, whose noise is Gaussian.
    """
    return np.sqrt(np.maximum(np.square(q) + np.square(u) - np.square(sigma), 0.0))


def errors_of(q: float, u: float, sigma_q: float, sigma_u: float) -> dict[str, float | bool | None]:
    """Return errors of P and its angle by propagation, and P without its noise bias, for uncorrelated Q and U.

    Propagation holds where P is many of its errors (Naghizadeh-Khouei & Clarke 1993, A&A 274, 968: from about four);
    the bias of P is that of the noise across the polarisation, sigma_t^2/2P (Plaszczynski et al. 2014, MNRAS 439, 4048).

    Parameters
    ----------
    q, u : float
    sigma_q, sigma_u : float

    Returns
    -------
    dict
        ``sigma_p``, ``p_debiased``, ``sigma_angle_deg`` (None where P = 0), ``low_signal``.
    """
    p = float(np.hypot(q, u))
    if p == 0:
        return {"sigma_p": None, "p_debiased": 0.0, "sigma_angle_deg": None, "low_signal": True}
    along = float(np.hypot(q * sigma_q, u * sigma_u)) / p
    across = float(np.hypot(q * sigma_u, u * sigma_q)) / p
    return {
        "sigma_p": along,
        "p_debiased": float(debiased_intensity(np.asarray(q), np.asarray(u), across)),
        "sigma_angle_deg": float(np.degrees(across / (2 * p))),
        "low_signal": p < 4 * max(along, across),
    }
