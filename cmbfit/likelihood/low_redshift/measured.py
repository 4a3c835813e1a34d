"""What every measurement of distances shares: where it needs them, and how they come from a theory's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, nuisance_values
from cmbfit.theory.background.densities import NEEDED, OPTIONAL
from cmbfit.theory.background.distances import Distances
from cmbfit.theory.spectra import Spectra

HORIZON = "rdrag"
"""The sound horizon at the drag epoch [Mpc], which a theory reports beside its spectra."""


class Seen(NamedTuple):
    """ln of distances [Mpc] at a measurement's redshifts, and of the sound horizon."""

    dm: torch.Tensor  # shape: (n_z, batch)
    dh: torch.Tensor  # shape: (n_z, batch)
    horizon: torch.Tensor | None  # shape: (batch,)


def background_of(name: str, parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what distances follow from among the parameters beside spectra.

    Raises
    ------
    LikelihoodError
        If one is missing, as all are beside spectra of a text file.
    """
    if missing := [p for p in NEEDED if p not in parameters]:
        raise LikelihoodError(
            f"{name} needs distances, which follow from {', '.join(NEEDED)}: found no {missing[0]} beside the spectra "
            f"(found {', '.join(parameters) or 'none'}; spectra of a file carry no parameters)"
        )
    return {p: parameters[p] for p in (*NEEDED, *OPTIONAL) if p in parameters}


def log_horizon(name: str, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:  # shape: (batch,)
    """Return ln of the theory's sound horizon.

    Raises
    ------
    LikelihoodError
        If the theory does not report it.
    """
    if HORIZON not in parameters:
        raise LikelihoodError(
            f"{name} compares distances with the sound horizon {HORIZON}, which this theory does not report beside its "
            f"spectra (found {', '.join(parameters) or 'none'})"
        )
    return torch.log(parameters[HORIZON])


class DistanceLikelihood(OnDevice):
    """Base of the likelihoods of this package.

    Parameters
    ----------
    info : DataSetInfo
    z : numpy.ndarray, shape (n_z,)
        Where distances are needed.
    files : mapping of str to str, optional
        sha256 of the files that the numbers come from.

    Attributes
    ----------
    with_horizon : bool
        Whether distances are compared with the sound horizon.
    """

    with_horizon = True
    pairs: tuple[str, ...] = ()
    lmax = 0

    def __init__(self, info: DataSetInfo, z: np.ndarray, files: Mapping[str, str] | None = None) -> None:
        self.info, self.z = info, np.asarray(z, dtype=float)
        self._distances = Distances(self.z)
        self._files = dict(files or {})

    def settings(self) -> dict[str, Any]:
        """Return what defines the numbers."""
        raise NotImplementedError

    def log_prob_of(
        self, seen: Seen, nuisance: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L of distances at :attr:`z`."""
        raise NotImplementedError

    def folded(self) -> DistanceLikelihood:
        """Return the same likelihood of distances at fewer redshifts, where there is one."""
        return self

    def seen(self, parameters: Mapping[str, torch.Tensor]) -> Seen:
        """Return the distances that follow from parameters, each of shape (batch,)."""
        dm, dh = self._distances(background_of(self.info.name, parameters))
        return Seen(dm, dh, log_horizon(self.info.name, parameters) if self.with_horizon else None)

    def log_prob(
        self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L of the parameters that stand beside spectra; -inf where there is no such universe."""
        nuisance = nuisance_values(self.info, nuisance, spectra.batch)
        return self.log_prob_of(self.seen(spectra.parameters), nuisance)


def factor_of(name: str, covariance: np.ndarray, n: int) -> torch.Tensor:  # shape: (n, n)
    """Return the lower Cholesky factor of a covariance.

    Raises
    ------
    LikelihoodError
        If it is of another length, not symmetric or not positive definite.
    """
    if covariance.shape != (n, n):
        raise LikelihoodError(
            f"{name}: the covariance has shape {covariance.shape}, expected {(n, n)}: a row a value"
        )
    if not np.isfinite(covariance).all() or not np.allclose(covariance, covariance.T, rtol=1e-6, atol=0):
        raise LikelihoodError(f"{name}: expected a finite and symmetric covariance")
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(np.ascontiguousarray(covariance)))
    if failed:
        raise LikelihoodError(
            f"{name}: the covariance is not positive definite (row {int(failed)}); it must be the covariance itself, in the "
            "order of the values"
        )
    return factor
