"""All measurements of distances of a posterior at once: one integration, from an emulator's derived parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.low_redshift.measured import HORIZON, DistanceLikelihood, Seen
from cmbfit.theory.background.densities import NEEDED, OPTIONAL
from cmbfit.theory.background.distances import Distances
from cmbfit.theory.emulator.linear import LinearEmulator


class FoldedDistances(OnDevice):
    """Sum of ln L of measurements of distances.

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
        self._likelihoods = [like.folded() for like in likelihoods]
        z = np.concatenate([like.z for like in self._likelihoods])
        self._distances = Distances(z)
        ends = np.cumsum([len(like.z) for like in self._likelihoods])
        self._rows = list(
            zip([0, *ends[:-1].tolist()], (len(like.z) for like in self._likelihoods), strict=True)
        )
        wanted = ["H0"] + [HORIZON] * any(like.with_horizon for like in self._likelihoods)
        derived = emulator.arrays.derived_names
        if missing := [p for p in wanted if p not in derived]:
            raise LikelihoodError(
                f"{self._likelihoods[0].info.name}: this emulator does not give {missing[0]}"
            )
        self.coefficients = emulator.derived_coefficients[[derived.index(p) for p in wanted]]
        self._with_horizon = HORIZON in wanted
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
        dm, dh = self._distances(parameters)
        horizon = log_derived[1] if self._with_horizon else None
        total: torch.Tensor | None = None
        for like, (start, n) in zip(self._likelihoods, self._rows, strict=True):
            seen = Seen(
                dm.narrow(0, start, n), dh.narrow(0, start, n), horizon if like.with_horizon else None
            )
            term = like.log_prob_of(seen, nuisance)
            total = term if total is None else total + term
        if total is None:
            raise LikelihoodError("no measurement of distances")
        return total
