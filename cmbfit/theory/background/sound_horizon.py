"""The sound horizon at the drag epoch as a polynomial, for theories without a Boltzmann code or an emulator.

Recombination is CAMB's (RECFAST with Planck's settings, as the preset `planck2018`), which a Legendre polynomial of ln of
the densities of baryons and cold dark matter, the sum of neutrino masses and N_eff follows to the errors in
``sound_horizon.npz``: see :attr:`SoundHorizon.settings` (2.5e-5; 1.1e-5 with standard neutrinos, the scatter of CAMB's own
numbers). It was trained in flat universes with a cosmological constant: curvature of 0.1 moves r_d by 4e-5, dark energy with
w + wa = -0.3 by 1e-4, with more of it early on by per cents.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.shipped import read_shipped
from cmbfit.theory.background.densities import default_of
from cmbfit.theory.emulator.polynomial import LegendreFeatures

FILE = "theory/background/sound_horizon.npz"

PARAMETERS = ("ombh2", "omch2", "mnu", "nnu")

_LOGARITHMS = ("ombh2", "omch2")


class SoundHorizon(OnDevice):
    """r_d [Mpc] of baryons, cold dark matter and neutrinos.

    Attributes
    ----------
    box : dict of str to (float, float)
        Where the polynomial was trained; it is not to be used elsewhere.
    settings : dict
        Its largest errors, and what it was trained on.

    Examples
    --------
    >>> at = {"ombh2": 0.02237, "omch2": 0.12}
    >>> point = {name: torch.tensor([x], dtype=torch.float64) for name, x in at.items()}
    >>> round(SoundHorizon()(point).item(), 2)
    147.1
    """

    def __init__(self) -> None:
        with np.load(io.BytesIO(read_shipped(FILE)), allow_pickle=False) as stored:
            ends, degrees = stored["box"], stored["degrees"]
            coefficients, errors = stored["coefficients"], stored["errors"]
        self.box = {p: (float(a), float(b)) for p, (a, b) in zip(PARAMETERS, ends, strict=True)}
        self.settings: dict[str, Any] = {
            "trained_on": "CAMB, RECFAST with Planck's settings",
            "largest_error": float(errors[0]),
            "largest_error_of_standard_neutrinos": float(errors[1]),
        }
        scaled = [(np.log(a), np.log(b)) if p in _LOGARITHMS else (a, b) for p, (a, b) in self.box.items()]
        self._features = LegendreFeatures(scaled, degrees)
        self._coefficients = torch.from_numpy(coefficients)

    def __call__(self, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:  # shape: (batch,)
        """Return r_d; parameters that do not vary have the base model's values."""
        like = parameters["ombh2"]
        columns = [torch.log(parameters[p]) for p in _LOGARITHMS]
        columns += [parameters.get(p, torch.full_like(like, default_of(p))) for p in PARAMETERS[2:]]
        return torch.exp(self._coefficients @ self._features(torch.stack(columns, dim=1)))
