"""How wrong an emulator is: against exact spectra, in units of cosmic variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.theory.base import Theory
from cmbfit.theory.emulator.train import cosmic_variance_sigma
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.parameters import DERIVED
from cmbfit.theory.spectra import BOLTZMANN_PAIRS, Spectra

PERCENTILES = (68.0, 95.0, 99.0, 100.0)


@dataclass(frozen=True)
class Accuracy:
    """Errors |delta D_l| / sigma_CV of an emulator on a set of exact spectra.

    Attributes
    ----------
    per_ell : dict of str to numpy.ndarray, shape (4, lmax + 1)
        Pair to the :data:`PERCENTILES` over points, at each multipole (zero below l = 2).
    overall : dict of str to list of float
        Pair to percentiles over points and multipoles l >= 2.
    derived : dict of str to float
        Largest relative error of each derived parameter.
    n_points : int
    """

    per_ell: dict[str, np.ndarray]
    overall: dict[str, list[float]]
    derived: dict[str, float]
    n_points: int


def spectra_of(exact: TrainingSet) -> Spectra:
    """Return the lensed spectra of a training set with sampled and derived parameters."""
    columns = np.column_stack([exact.theta, exact.derived])
    return Spectra(
        {
            pair: torch.from_numpy(np.ascontiguousarray(exact.dl[:, i]))
            for i, pair in enumerate(BOLTZMANN_PAIRS)
        },
        {p: torch.from_numpy(columns[:, i].copy()) for i, p in enumerate((*exact.names, *DERIVED))},
    )


def errors_in_sigma(
    got: Spectra,
    dl: np.ndarray,  # shape: (n, 5, >= lmax + 1)
) -> dict[str, np.ndarray]:  # pair -> shape (n, lmax + 1)
    """Return |delta D_l| / sigma_CV of every spectrum that `got` has; zero below l = 2."""
    n_ell = got.lmax + 1
    pairs = [p for p in BOLTZMANN_PAIRS if p in got.dl]
    errors = {pair: np.zeros((len(dl), n_ell)) for pair in pairs}
    for row in range(len(dl)):
        exact = dict(zip(BOLTZMANN_PAIRS, dl[row, :, :n_ell], strict=True))
        sigma = cosmic_variance_sigma(exact)
        for pair in pairs:
            difference = got.dl[pair][row].numpy() - exact[pair]
            errors[pair][row, 2:] = np.abs(difference[2:]) / sigma[pair][2:]
    return errors


def measure(
    emulator: Theory,
    theta: np.ndarray,  # shape: (n, n_parameters)
    dl: np.ndarray,  # shape: (n, 5, >= lmax + 1)
    derived: np.ndarray,  # shape: (n, n_derived)
) -> Accuracy:
    """Compare an emulator with exact spectra; sigma_CV is taken at each exact model, f_sky = 1."""
    return measure_spectra(emulator.spectra(torch.from_numpy(theta)), dl, derived)


def measure_spectra(
    got: Spectra,
    dl: np.ndarray,  # shape: (n, 5, >= lmax + 1)
    derived: np.ndarray,  # shape: (n, n_derived)
) -> Accuracy:
    """Compare predicted with exact spectra; see :func:`measure`."""
    per_ell, overall = {}, {}
    for pair, error in errors_in_sigma(got, dl).items():
        per_ell[pair] = np.percentile(error, PERCENTILES, axis=0)
        overall[pair] = np.percentile(error[:, 2:], PERCENTILES).tolist()
    relative = {
        p: float(np.abs(got.parameters[p].numpy() / derived[:, i] - 1).max())
        for i, p in enumerate(DERIVED)
        if p in got.parameters
    }
    return Accuracy(per_ell, overall, relative, len(dl))
