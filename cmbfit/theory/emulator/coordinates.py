"""The coordinates in which an emulator's polynomials are written.

EE at l < 30 is the interference of the reionisation bump with what recombination left, and its phase
follows the redshift of reionisation: as polynomials of tau these multipoles converge slowly. With tau
replaced by a closed form of that redshift they need half the terms for half the error.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from cmbfit.errors import ConfigError

COORDINATES = ("tau", "zre")

# Thomson optical depth of matter and Lambda, tau = (c sigma_T n_e / 100) 2 / (3 omega_m) (E - h) with
# E^2 = omega_m (1 + z)^3 + ..., solved for z with E's Lambda term left out; the two numbers (h with
# helium's part, and the inverse prefactor) fit CAMB's own z_re to 0.14 over the default box
_H, _PER_TAU = 0.4634, 26.59
_OMEGA_NU_H2 = 0.00064


def reionisation_redshift(
    ombh2: torch.Tensor, omch2: torch.Tensor, tau: torch.Tensor
) -> torch.Tensor:  # each of shape (batch,)
    """Return z_re of a sharp reionisation, to 0.14 over the default box: a coordinate, not a prediction.

    Examples
    --------
    >>> z = reionisation_redshift(*torch.tensor([[0.0224], [0.12], [0.055]], dtype=torch.float64))
    >>> round(z.item(), 1)
    7.8
    """
    omega_m = ombh2 + omch2 + _OMEGA_NU_H2
    return ((_H + _PER_TAU * tau * omega_m / ombh2) / torch.sqrt(omega_m)) ** (2 / 3) - 1


class Coordinates:
    """Map parameters to the polynomials' coordinates.

    Parameters
    ----------
    box : mapping of str to (float, float)
        Ordered range of each parameter.
    kind : str
        ``tau``: the parameters themselves. ``zre``: tau's column holds :func:`reionisation_redshift`.

    Attributes
    ----------
    box : dict of str to (float, float)
        Range of each coordinate over the parameters' box.
    """

    def __init__(self, box: Mapping[str, Sequence[float]], kind: str) -> None:
        if kind not in COORDINATES:
            raise ConfigError(f"coordinates: expected one of {', '.join(COORDINATES)}, found {kind!r}")
        self.kind = kind
        self.names = tuple(box)
        self._columns = [self.names.index(name) for name in ("ombh2", "omch2", "tau")]
        self.box = {name: (float(low), float(high)) for name, (low, high) in box.items()}
        if kind == "zre":
            # monotonic in each parameter inside any sensible box: the extremes lie at corners
            corners = torch.tensor(
                list(itertools.product(*(self.box[n] for n in ("ombh2", "omch2", "tau")))),
                dtype=torch.float64,
            )
            z = reionisation_redshift(*corners.T)
            self.box["tau"] = (z.min().item(), z.max().item())

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch, n_parameters)
        """Return the coordinates, differentiable."""
        if self.kind == "tau":
            return theta
        ob, oc, tau = (theta[:, i] for i in self._columns)
        column = self._columns[2]
        z = reionisation_redshift(ob, oc, tau)[:, None]
        return torch.cat([theta[:, :column], z, theta[:, column + 1 :]], dim=1)

    def of_columns(
        self,
        theta: np.ndarray,  # shape: (n_parameters[, batch])
    ) -> np.ndarray:  # shape: (n_parameters[, batch])
        """Return the coordinates of points in columns, in numpy."""
        if self.kind == "tau":
            return theta
        out = theta.copy()
        ob, oc, tau = _numbers(theta, self._columns)
        omega_m = ob + oc + _OMEGA_NU_H2
        out[self._columns[2]] = ((_H + _PER_TAU * tau * omega_m / ob) / omega_m**0.5) ** (2 / 3) - 1
        return out

    def pull_back(
        self,
        theta: np.ndarray,  # shape: (n_parameters[, batch])
        gradient: np.ndarray,  # shape: (n_parameters[, batch])
    ) -> np.ndarray:  # shape: (n_parameters[, batch])
        """Return the gradient by the parameters from that by the coordinates, which is overwritten."""
        if self.kind == "tau":
            return gradient
        i, j, k = self._columns
        ob, oc, tau = _numbers(theta, self._columns)
        omega_m = ob + oc + _OMEGA_NU_H2
        inner = _H + _PER_TAU * tau * omega_m / ob
        # 1 + z = (inner / sqrt(omega_m))^(2/3)
        of_log = gradient[k] * (2 / 3) * (inner / omega_m**0.5) ** (2 / 3)
        by_omega_m = _PER_TAU * tau / ob / inner - 0.5 / omega_m
        gradient[i] += of_log * (by_omega_m - _PER_TAU * tau * omega_m / (ob * ob * inner))
        gradient[j] += of_log * by_omega_m
        gradient[k] = of_log * _PER_TAU * omega_m / (ob * inner)
        return gradient


def _numbers(theta: np.ndarray, columns: Sequence[int]) -> list[Any]:
    """Return rows of theta; Python's numbers of a single point, which cost a tenth of numpy's."""
    return [theta.item(i) if theta.ndim == 1 else theta[i] for i in columns]
