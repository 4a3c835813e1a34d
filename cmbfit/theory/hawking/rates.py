"""Rates of emission: particles, energy and entropy of each massless field, M = 1.

A mode at frequency w is emitted at the rate Gamma n dw/2pi, n = 1/(e^{8 pi w} -+ 1); there are (2l+1) of
them for each helicity (Hawking 1975; Page 1976). Each escaping mode is in a thermal state filtered by
Gamma: its entropy is s(n Gamma), s(n) = (n+1) ln(n+1) - n ln n for bosons (Page 2013, arXiv:1301.4995).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.errors import ParameterError
from cmbfit.theory.hawking.transmission import Greybody, greybody


@dataclass(frozen=True)
class Field:
    """A massless field: spin, number of helicities, name."""

    name: str
    spin: float
    helicities: int


FIELDS = {
    "scalar": Field("scalar", 0.0, 1),
    "neutrino": Field("neutrino", 0.5, 1),
    "photon": Field("photon", 1.0, 2),
    "graviton": Field("graviton", 2.0, 2),
}
"""Names of the fields; `neutrino` is one helicity (a neutrino and its antineutrino are two)."""

_TOP, _NODES, _N_ELL = 1.3, 100, 5


@dataclass(frozen=True)
class Emission:
    """What a black hole of M = 1 emits in one field.

    Attributes
    ----------
    frequency, weight : numpy.ndarray, shape (n_w,)
        Nodes and weights of the quadrature over M w.
    number_rate, power, entropy_rate : numpy.ndarray, shape (n_w, n_l)
        d/dw of the rates, for each l; all helicities.
    flux_error : float
        Of the greybody factors.
    """

    frequency: np.ndarray
    weight: np.ndarray
    number_rate: np.ndarray
    power: np.ndarray
    entropy_rate: np.ndarray
    flux_error: float

    def _integral(self, density: np.ndarray) -> float:
        return float(self.weight @ density.sum(1))

    @property
    def luminosity(self) -> float:
        """L M^2 in units of hbar c^6/G^2."""
        return self._integral(self.power)

    @property
    def number(self) -> float:
        """M dN/dt."""
        return self._integral(self.number_rate)

    @property
    def mean_frequency(self) -> float:
        """Mean energy of a quantum, times M."""
        return self.luminosity / self.number

    @property
    def lowest_share(self) -> float:
        """Share of the lowest l in the luminosity."""
        return float(self.weight @ self.power[:, 0]) / self.luminosity

    @property
    def entropy_ratio(self) -> float:
        """Entropy of the radiation over the entropy lost by the hole: dS_BH = 8 pi M dM."""
        return self._integral(self.entropy_rate) / (8 * math.pi * self.luminosity)


def _mode_entropy(n: torch.Tensor, *, fermion: bool) -> torch.Tensor:
    if fermion:
        return -torch.xlogy(n, n) - torch.xlogy(1 - n, 1 - n)
    return torch.xlogy(n + 1, n + 1) - torch.xlogy(n, n)


@functools.cache
def _transmission() -> tuple[np.ndarray, np.ndarray, Greybody]:
    """Return nodes, weights and the greybody factors of all fields, in one batch."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    w = (nodes + 1) * _TOP / 2
    waves = [(f.spin, f.spin + i) for f in FIELDS.values() for i in range(_N_ELL)]
    return w, weights * _TOP / 2, greybody(torch.from_numpy(w), waves)


def emission(name: str) -> Emission:
    """Compute the emission in a field of :data:`FIELDS`; the greybody factors are solved once.

    Five l and 100 Gauss-Legendre nodes on 0 < M w < 1.3: twice as many of both change no luminosity by
    more than 1e-6.
    """
    if name not in FIELDS:
        raise ParameterError(f"unknown field {name!r}; expected one of {', '.join(FIELDS)}")
    field = FIELDS[name]
    frequency, weight, grey = _transmission()
    first = list(FIELDS).index(name) * _N_ELL
    gamma = grey.gamma[:, first : first + _N_ELL]
    w = torch.from_numpy(frequency)[:, None]
    fermion = field.spin == 0.5
    planck = 1 / (torch.exp(8 * math.pi * w) + 1) if fermion else 1 / torch.expm1(8 * math.pi * w)
    occupation = gamma * planck
    degeneracy = 2 * (field.spin + torch.arange(_N_ELL, dtype=torch.float64)) + 1
    modes = field.helicities / (2 * math.pi) * degeneracy
    number = occupation * modes
    return Emission(
        frequency=frequency,
        weight=weight,
        number_rate=number.numpy(),
        power=(number * w).numpy(),
        entropy_rate=(_mode_entropy(occupation, fermion=fermion) * modes).numpy(),
        flux_error=grey.flux_error,
    )


def combined_entropy_ratio(*names: str) -> float:
    """Return the entropy ratio of several fields together, weighed by their luminosities."""
    fields = [emission(n) for n in names]
    total = sum(f.luminosity for f in fields)
    return sum(f.entropy_ratio * f.luminosity for f in fields) / total
