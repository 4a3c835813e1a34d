"""Energy densities of the expanding universe: rho_i(z) 8 pi G / (3 (100 km/s/Mpc)^2), that is omega_i(z) = Omega_i h^2.

Photons, neutrinos (massless, and one massive state with the exact Fermi-Dirac integral), cold dark matter and baryons,
curvature, and dark energy of w0 - wa (Chevallier & Polarski 2001, gr-qc/0009008; Linder 2003, astro-ph/0208512). Counting
of neutrinos and constants are CAMB's: one state of temperature (3.044 / 3)^(1/4) (4 / 11)^(1/3) T_CMB carries all the
mass, what N_eff leaves is massless.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.theory.extensions import BACKGROUND_EXTENSIONS
from cmbfit.theory.parameters import FIXED
from cmbfit.units import BOLTZMANN, PLANCK, SPEED_OF_LIGHT, T_CMB

_G, _MPC, _EV = 6.6743e-11, 3.085677581e22, 1.602176634e-19  # SI; G as in CAMB (CODATA 2018)
_HUNDRED = 1e5 / _MPC
"""100 km/s/Mpc in 1/s."""

_RADIATION = 8 * math.pi**5 * (BOLTZMANN * T_CMB) ** 4 / (15 * (PLANCK * SPEED_OF_LIGHT) ** 3)
OMEGA_PHOTON = 8 * math.pi * _G / 3 * _RADIATION / SPEED_OF_LIGHT**2 / _HUNDRED**2
"""omega of photons today."""

OMEGA_MASSLESS = OMEGA_PHOTON * 7 / 8 * (4 / 11) ** (4 / 3)
"""omega of one massless neutrino today, N_eff = 1."""

STATE = FIXED["nnu"] / 3
"""Share of N_eff of the one state that has mass."""

_T_NEUTRINO = (4 / 11) ** (1 / 3) * STATE**0.25 * BOLTZMANN * T_CMB / _EV
"""Temperature of the massive state today [eV]."""

_N_QUADRATURE = 40

NEEDED = ("ombh2", "omch2", "H0")
"""Parameters without which there is no background; :data:`OPTIONAL` ones have the base model's value."""

OPTIONAL = ("mnu", "nnu", "omk", "w", "wa")


def default_of(name: str) -> float:
    """Return the base model's value of an optional parameter."""
    return float(BACKGROUND_EXTENSIONS[name].default or 0.0)


def _value(name: str, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:  # shape: (batch,)
    """Return an optional parameter, or the base model's value of it."""
    if name in parameters:
        return parameters[name]
    return torch.full_like(parameters["H0"], default_of(name))


class MassiveNeutrinos(OnDevice):
    r"""Energy of Fermi-Dirac neutrinos relative to massless ones.

    .. math:: F(y) = \frac{120}{7\pi^4} \int_0^\infty \frac{q^2 \sqrt{q^2 + y^2}}{e^q + 1} dq, \quad y = m a / T_0,

    by Gauss-Laguerre quadrature: better than 1e-6 of itself for y = 0 and y > 3, and 2e-5 of itself between, where neutrinos are a
    ten-thousandth of all energy at the redshifts of galaxies.

    Examples
    --------
    >>> float(MassiveNeutrinos()(torch.zeros(1, dtype=torch.float64)))
    1.0
    """

    def __init__(self) -> None:
        q, weight = np.polynomial.laguerre.laggauss(_N_QUADRATURE)
        weight = weight * q**2 / (1 + np.exp(-q))
        self._square = torch.from_numpy(q**2)
        self._weight = torch.from_numpy(weight / (weight @ q))

    def __call__(self, y: torch.Tensor) -> torch.Tensor:
        """Return F of any shape."""
        return torch.sqrt(self._square + y[..., None].square()) @ self._weight


class Densities(OnDevice):
    """omega of everything at given redshifts.

    Parameters
    ----------
    z : numpy.ndarray, shape (n,)
    """

    def __init__(self, z: np.ndarray) -> None:
        a = 1 + torch.from_numpy(np.array(z, dtype=float))
        self.stretch = a  # 1 + z
        self._neutrinos = MassiveNeutrinos()
        self._cube, self._square, self._fourth = a**3, a**2, a**4
        self._log, self._shrunk = torch.log(a), 1 - 1 / a
        fixed = (torch.tensor([default_of(p)], dtype=torch.float64) for p in ("mnu", "nnu"))
        self._fixed_neutrinos = self._of_neutrinos(*fixed)[:, 0]

    def _of_neutrinos(self, mnu: torch.Tensor, nnu: torch.Tensor) -> torch.Tensor:  # shape: (n + 1, batch)
        """Return the neutrinos' omega at the redshifts, and today in the last row."""
        stretch = torch.cat([self.stretch, self.stretch.new_ones(1)])[:, None]
        massive = STATE * self._neutrinos(mnu / (_T_NEUTRINO * stretch))
        return OMEGA_MASSLESS * (nnu - STATE + massive) * stretch**4

    def __call__(self, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:  # shape: (n, batch)
        """Return omega of everything: (H / 100 km/s/Mpc)^2.

        Parameters
        ----------
        parameters : mapping of str to torch.Tensor, shape (batch,)
            :data:`NEEDED`, and what varies of :data:`OPTIONAL`.
        """
        matter = parameters["ombh2"] + parameters["omch2"]
        h2 = (parameters["H0"] * 0.01).square()
        if "mnu" in parameters or "nnu" in parameters:
            neutrinos = self._of_neutrinos(*(_value(p, parameters) for p in ("mnu", "nnu")))
            then, today = neutrinos[:-1], neutrinos[-1]
        else:
            then, today = self._fixed_neutrinos[:-1, None], self._fixed_neutrinos[-1]
        total = torch.addcmul(then + OMEGA_PHOTON * self._fourth[:, None], self._cube[:, None], matter)
        dark = h2 - matter - today - OMEGA_PHOTON
        if "omk" in parameters:
            curvature = parameters["omk"] * h2
            total = torch.addcmul(total, self._square[:, None], curvature)
            dark = dark - curvature
        return total + self._dark_energy(parameters) * dark

    def _dark_energy(self, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor | float:
        """Return dark energy over its value today."""
        if "w" not in parameters and "wa" not in parameters:
            return 1.0
        w, wa = (_value(p, parameters) for p in ("w", "wa"))
        return torch.exp(3 * (self._log[:, None] * (1 + w + wa) - self._shrunk[:, None] * wa))

    def neutrinos_today(self, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:  # shape: (batch,)
        """Return omega of the massive neutrinos' state today, what CAMB calls omnuh2 when it has mass."""
        return OMEGA_MASSLESS * STATE * self._neutrinos(_value("mnu", parameters) / _T_NEUTRINO)
