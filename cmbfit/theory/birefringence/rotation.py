"""Isotropic cosmic birefringence: rotation of all six spectra, published angles, forecasts.

Linear polarisation turned by beta: (Q +- iU) -> e^{+-2i beta}(Q +- iU), (E +- iB)_lm likewise (Lue, Wang &
Kamionkowski 1999; Feng et al. 2005), exact for a uniform late rotation when applied to *lensed* spectra:

    TE' = TE c - TB s               TB' = TE s + TB c                c, s = cos 2b, sin 2b
    EE' = EE c^2 + BB s^2 - 2 EB c s      BB' = EE s^2 + BB c^2 + 2 EB c s
    EB' = (EE - BB) c s + EB (c^2 - s^2).

A detector whose polarisation angle is off by alpha turns what it sees by alpha as well: CMB alone measures
alpha + beta only (Minami et al. 2019, arXiv:1904.12440).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from cmbfit.errors import SpectrumError
from cmbfit.theory.spectra import Spectra

PUBLISHED: tuple[tuple[str, float, float, str], ...] = (
    ("Planck PR3 HFI", 0.35, 0.14, "Minami & Komatsu 2020, arXiv:2011.11254"),
    ("Planck PR4 HFI", 0.30, 0.11, "Diego-Palazuelos et al. 2022, arXiv:2201.07682"),
    ("Planck PR4 + WMAP9", 0.342, 0.0925, "Eskilt & Komatsu 2022, arXiv:2205.13962 (+0.094 -0.091)"),
    (
        "ACT DR6",
        0.215,
        0.074,
        "Diego-Palazuelos & Komatsu 2025, arXiv:2509.13654 (systematics not explained)",
    ),
)
"""Measurements of beta: name, value, error [deg], source."""


def rotate_spectra(
    dl: Mapping[str, torch.Tensor],
    beta: torch.Tensor,  # shape: (batch, 1), radians
) -> dict[str, torch.Tensor]:
    """Return tt, te, ee, bb, tb, eb after a rotation by `beta`; other pairs pass through.

    Parameters
    ----------
    dl : mapping of str to torch.Tensor, shape (batch, lmax + 1)
        te, ee, bb are needed; absent tb, eb are zero. COSMO polarisation: in the IAU convention the sign
        of U, hence of beta, tb and eb, is the opposite.
    beta : torch.Tensor, shape (batch, 1)
        Radians.

    Raises
    ------
    SpectrumError
        If te, ee or bb are missing.
    """
    if missing := [p for p in ("te", "ee", "bb") if p not in dl]:
        raise SpectrumError(f"rotation: {', '.join(missing)} needed; found {', '.join(dl)}")
    te, ee, bb = dl["te"], dl["ee"], dl["bb"]
    tb, eb = (dl.get(p, torch.zeros_like(ee)) for p in ("tb", "eb"))
    c, s = torch.cos(2 * beta), torch.sin(2 * beta)
    return {
        **dl,
        "te": te * c - tb * s,
        "tb": te * s + tb * c,
        "ee": ee * c**2 + bb * s**2 - 2 * eb * c * s,
        "bb": ee * s**2 + bb * c**2 + 2 * eb * c * s,
        "eb": (ee - bb) * c * s + eb * (c**2 - s**2),
    }


def rotate(spectra: Spectra, beta_deg: torch.Tensor) -> Spectra:
    """Return :class:`Spectra` turned by `beta_deg` [degrees], shape (batch,)."""
    turned = rotate_spectra(spectra.dl, torch.deg2rad(beta_deg)[:, None])
    return Spectra(turned, {**spectra.parameters, "beta": beta_deg.expand(spectra.batch)})


@dataclass(frozen=True)
class RotationForecast:
    """Errors of beta [deg] from EB alone, TB alone and both."""

    eb: float
    tb: float
    both: float


def forecast(
    dl: Mapping[str, torch.Tensor],
    noise: Mapping[str, torch.Tensor],
    ells: slice,
    f_sky: float,
) -> RotationForecast:
    """Return the Fisher error of a small beta with known detector angles.

    sigma^-2 = sum_l (2l+1) f_sky [2 (EE - BB)]^2 / [(EE+N)(BB+N)] for EB, [2 TE]^2 / [(TT+N)(BB+N)] for TB; with both,
    their correlation through TE is included.

    Parameters
    ----------
    dl, noise : mapping of str to torch.Tensor, shape (lmax + 1,)
        tt, te, ee, bb; noise tt, ee, bb (in D_l, beam divided out).
    ells : slice
        Multipoles used, such as ``slice(51, 1501)``.
    f_sky : float
    """
    te, total_bb = dl["te"][ells], (dl["bb"] + noise["bb"])[ells]
    tt, ee = (dl["tt"] + noise["tt"])[ells], (dl["ee"] + noise["ee"])[ells]
    ell = torch.arange(len(dl["ee"]), dtype=torch.float64)[ells]
    modes = (2 * ell + 1) * f_sky
    eb_slope, tb_slope = 2 * (dl["ee"] - dl["bb"])[ells], 2 * te
    eb = (modes * eb_slope**2 / (ee * total_bb)).sum()
    tb = (modes * tb_slope**2 / (tt * total_bb)).sum()
    # covariance of (EB, TB) at beta = 0: BB/(2l+1) times ((EE, TE), (TE, TT))
    determinant = ee * tt - te**2
    joint = (
        modes
        * (tt * eb_slope**2 - 2 * te * eb_slope * tb_slope + ee * tb_slope**2)
        / (determinant * total_bb)
    )
    degrees = [math.degrees(x.item() ** -0.5) for x in (eb, tb, joint.sum())]
    return RotationForecast(*degrees)
