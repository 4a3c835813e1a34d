"""Frequency spectra of foregrounds in units of the CMB's temperature.

Everything is relative to a reference frequency at which the amplitude is defined. T and nu are in K and GHz. The
constants are those with which candl and the published SPT-3G amplitudes are defined, T_CMB = 2.72548 K (Fixsen 2009)
and CODATA 2010: with others the amplitudes would stand for something else in the sixth digit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

T_CMB = 2.72548
"""Temperature of the CMB [K]."""

GHZ_OVER_KELVIN = 6.62606957e-34 / 1.3806488e-23 * 1e9
"""h/k [K/GHz], CODATA 2010."""


def _greybody(nu: float, temperature: float) -> float:
    return nu**3 / math.expm1(GHZ_OVER_KELVIN * nu / temperature)


def db_dt(nu: np.ndarray | float) -> np.ndarray:
    """Return the derivative of the Planck function by temperature at T_CMB, up to a constant."""
    x = GHZ_OVER_KELVIN * np.asarray(nu, dtype=float) / T_CMB
    return x**4 * np.exp(x) / np.expm1(x) ** 2


class ModifiedBlackbody:
    """nu^beta B_nu(T) in temperature units of the CMB (Dutcher et al. 2021, arXiv:2101.01684, section VI B).

    Parameters
    ----------
    frequencies : sequence of float
        Effective frequencies [GHz].
    reference : float
        Frequency [GHz] at which it is 1.
    temperature : float
        Of the dust [K].
    """

    def __init__(self, frequencies: Sequence[float], reference: float, temperature: float) -> None:
        unit = float(db_dt(reference)) / _greybody(reference, temperature)
        at = [_greybody(nu, temperature) / float(db_dt(nu)) * unit for nu in frequencies]
        self.constant = torch.tensor(at, dtype=torch.float64)
        self.log_nu = torch.tensor([math.log(nu / reference) for nu in frequencies], dtype=torch.float64)


def thermal_sz(nu: float, reference: float) -> float:
    """Return the thermal Sunyaev-Zel'dovich effect's spectrum, x coth(x/2) - 4, over that at the reference.

    Sunyaev & Zel'dovich 1972; without relativistic corrections.
    """

    def f(nu: float) -> float:
        x = GHZ_OVER_KELVIN * nu / T_CMB
        return x / math.tanh(x / 2) - 4

    return f(nu) / f(reference)


def radio(nu: float, reference: float, beta: float, sigma_squared: float) -> float:
    """Return a population of power laws whose indices scatter with variance sigma_squared around beta.

    The mean of r^b over a normal b is r^(beta + sigma^2 ln(r) / 2), in intensity.
    """
    r = nu / reference
    return r ** (beta + math.log(r) * sigma_squared / 2) * float(db_dt(reference) / db_dt(nu))


class Band:
    """A bandpass, the response to a beam-filling source, and the colour corrections in it.

    Parameters
    ----------
    table : numpy.ndarray, shape (n, 2)
        Frequency [GHz] and response.
    """

    def __init__(self, table: np.ndarray) -> None:
        self.nu = np.asarray(table[:, 0], dtype=float)
        step = np.diff(self.nu)
        width = np.concatenate([step[:1], (self.nu[2:] - self.nu[:-2]) / 2, step[-1:]])
        self.weights = np.asarray(table[:, 1], dtype=float) * width

    @property
    def centre(self) -> float:
        """Mean frequency [GHz]."""
        return float(self.weights @ self.nu / self.weights.sum())

    def cmb_unit(self, reference: float) -> float:
        """Return the response to dB/dT, relative to the reference frequency's."""
        return float(self.weights @ db_dt(self.nu) / db_dt(reference))

    def dust(self, reference: float, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weights and ln(nu/reference), each (n,): weights @ exp(beta ln) is the dust signal in the band."""
        grey = np.array([_greybody(nu, temperature) for nu in self.nu]) / _greybody(reference, temperature)
        return self._terms(self.weights * grey / self.cmb_unit(reference), reference)

    def power(self, reference: float, slope: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same of a power law nu^(slope + beta) in intensity."""
        return self._terms(
            self.weights * (self.nu / reference) ** slope / self.cmb_unit(reference), reference
        )

    def _terms(self, weights: np.ndarray, reference: float) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(weights), torch.from_numpy(np.log(self.nu / reference))
