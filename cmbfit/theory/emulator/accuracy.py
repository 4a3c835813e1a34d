"""How wrong an emulator is: against exact spectra, in units of cosmic variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import cosmic_variance_sigma
from cmbfit.theory.emulator.trainingset import PAIRS
from cmbfit.theory.spectra import Spectra

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


def spectra_from_arrays(
    dl: np.ndarray,  # shape: (n, 5, lmax + 1)
) -> Spectra:
    """Wrap the arrays of a training set as Spectra."""
    return Spectra({pair: torch.from_numpy(np.ascontiguousarray(dl[:, i])) for i, pair in enumerate(PAIRS)})


def measure(
    emulator: LinearEmulator,
    theta: np.ndarray,  # shape: (n, n_parameters)
    dl: np.ndarray,  # shape: (n, 5, >= lmax + 1)
    derived: np.ndarray,  # shape: (n, n_derived)
) -> Accuracy:
    """Compare an emulator with exact spectra; sigma_CV is taken at each exact model, f_sky = 1."""
    got = emulator.spectra(torch.from_numpy(theta))
    n_ell = emulator.lmax + 1
    exact = {pair: dl[:, i, :n_ell] for i, pair in enumerate(PAIRS)}
    per_ell, overall = {}, {}
    sigma = [
        cosmic_variance_sigma({p: exact[p][row] for p in ("tt", "te", "ee", "pp")}) for row in range(len(dl))
    ]
    for pair in ("tt", "te", "ee", "pp"):
        error = np.zeros((len(dl), n_ell))
        scale = np.array([s[pair][2:] for s in sigma])
        error[:, 2:] = np.abs(got.dl[pair].numpy()[:, 2:] - exact[pair][:, 2:]) / scale
        per_ell[pair] = np.percentile(error, PERCENTILES, axis=0)
        overall[pair] = np.percentile(error[:, 2:], PERCENTILES).tolist()
    names = emulator.arrays.derived_names
    relative = {
        p: float(np.abs(got.parameters[p].numpy() / derived[:, i] - 1).max()) for i, p in enumerate(names)
    }
    return Accuracy(per_ell, overall, relative, len(dl))
