"""All measurements of distances of a posterior at once: one integration, supernovae folded onto what distances can reach."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.log_likelihood import points_that_fit, split_columns
from cmbfit.likelihood.low_redshift.measured import (
    HORIZON,
    DistanceLikelihood,
    Seen,
    background_of,
    log_horizon,
)
from cmbfit.theory.background.densities import NEEDED, OPTIONAL
from cmbfit.theory.background.distances import Distances
from cmbfit.theory.background.theory import BackgroundTheory
from cmbfit.theory.emulator.linear import LinearEmulator


class Together(OnDevice):
    """Sum of ln L of measurements of distances.

    Parameters
    ----------
    likelihoods : sequence of DistanceLikelihood

    Attributes
    ----------
    with_horizon : bool
        Whether one of them compares distances with the sound horizon.
    """

    def __init__(self, likelihoods: Sequence[DistanceLikelihood]) -> None:
        if not likelihoods:
            raise LikelihoodError("expected a measurement of distances")
        self.likelihoods = [like.folded() for like in likelihoods]
        self.with_horizon = any(like.with_horizon for like in likelihoods)
        self._distances = Distances(np.concatenate([like.z for like in self.likelihoods]))
        self._sizes = [len(like.z) for like in self.likelihoods]

    def __call__(
        self,
        parameters: Mapping[str, torch.Tensor],
        horizon: torch.Tensor | None,  # shape: (batch,)
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L of a background and ln of its sound horizon."""
        dm, dh = self._distances(parameters)
        terms = [
            like.log_prob_of(Seen(one, two, horizon if like.with_horizon else None), nuisance)
            for like, one, two in zip(
                self.likelihoods, dm.split(self._sizes), dh.split(self._sizes), strict=True
            )
        ]
        return functools.reduce(torch.add, terms)


class FoldedDistances(OnDevice):
    """The same from an emulator's components.

    Parameters
    ----------
    likelihoods : sequence of DistanceLikelihood
    emulator : LinearEmulator
        Whose derived parameters hold H0 and, where distances are compared with it, the sound horizon.

    Attributes
    ----------
    coefficients : torch.Tensor, shape (n_derived, n_terms)
        Polynomial coefficients of ln of the derived parameters that are needed.

    Raises
    ------
    LikelihoodError
        If the emulator lacks one.
    """

    def __init__(self, likelihoods: Sequence[DistanceLikelihood], emulator: LinearEmulator) -> None:
        self._together = Together(likelihoods)
        wanted = ["H0"] + [HORIZON] * self._together.with_horizon
        derived = emulator.arrays.derived_names
        if missing := [p for p in wanted if p not in derived]:
            raise LikelihoodError(f"{likelihoods[0].info.name}: this emulator does not give {missing[0]}")
        self.coefficients = emulator.derived_coefficients[[derived.index(p) for p in wanted]]
        names = [p for p in (*NEEDED, *OPTIONAL) if p in emulator.parameters]
        self._columns = {p: emulator.parameters.index(p) for p in names}

    def __call__(
        self,
        point: torch.Tensor,  # shape: (batch, n_parameters of the emulator)
        log_derived: torch.Tensor,  # shape: (n_derived, batch)
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L."""
        columns = point.unbind(1)
        parameters = {p: columns[i] for p, i in self._columns.items()} | {"H0": torch.exp(log_derived[0])}
        return self._together(parameters, log_derived[1] if self._together.with_horizon else None, nuisance)


class DistancesAlone(OnDevice):
    """The same as ln L of a posterior without a CMB.

    Parameters
    ----------
    theory : BackgroundTheory
    nuisances : sequence of str
        Columns of theta after the theory's.
    likelihoods : sequence of DistanceLikelihood

    Attributes
    ----------
    fold_difference : float or None
        Measured by :func:`~cmbfit.likelihood.compiled.compile_posterior`.
    """

    side_by_side = True

    def __init__(
        self, theory: BackgroundTheory, nuisances: Sequence[str], likelihoods: Sequence[DistanceLikelihood]
    ) -> None:
        self.fold_difference: float | None = None
        self._theory, self._nuisances, self._together = theory, tuple(nuisances), Together(likelihoods)

    def chunk(self, device: torch.device) -> int:
        """Return how many points to compute at once on a device."""
        return points_that_fit(device, 8 * 2000)

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L without priors; differentiable."""
        point, nuisance = split_columns(theta, len(self._theory.parameters), self._nuisances)
        table, name = self._theory.spectra(point).parameters, self._together.likelihoods[0].info.name
        horizon = log_horizon(name, table) if self._together.with_horizon else None
        return self._together(background_of(name, table), horizon, nuisance)
