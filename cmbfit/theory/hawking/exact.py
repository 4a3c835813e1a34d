"""Exact spectra with evaporating holes: a Boltzmann code's without them, times the learned response."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from cmbfit.theory.emulator.accuracy import spectra_of
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.hawking.response import EvaporationTheory
from cmbfit.theory.spectra import BOLTZMANN_PAIRS


def with_holes(
    without: TrainingSet,
    theory: EvaporationTheory,
    theta: np.ndarray,  # shape: (n, 7)
) -> TrainingSet:
    """Return spectra of the same cosmologies with holes, up to the response's lmax.

    It tells the base emulator's error; the response's own is in its record.
    """
    got = theory.put_on(spectra_of(without), torch.from_numpy(theta))
    dl = np.stack([got.dl[pair].numpy() for pair in BOLTZMANN_PAIRS], axis=1)
    settings = {**without.settings, "evaporation": {"mass_g": theory.response.mass}}
    return replace(without, theta=theta, dl=dl, settings=settings, names=theory.parameters)
