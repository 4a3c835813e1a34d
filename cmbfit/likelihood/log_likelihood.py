"""ln L of all data sets together as one function of theta: what a posterior has, folded or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import torch

from cmbfit.device import OnDevice, free_memory
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.few_log_likelihood import FewLogLikelihood, FewRestricted
from cmbfit.theory.base import Theory
from cmbfit.theory.spectra import Spectra

_CHUNK_BYTES = 2**29
"""Memory that one chunk of points may take on a CPU, or on a device that does not say what it has."""


def points_that_fit(device: torch.device, bytes_of_one: int) -> int:
    """Return how many points to compute at once: on a GPU those that a quarter of its free memory holds."""
    free = free_memory(device)
    return max(1, (_CHUNK_BYTES if free is None else free // 4) // bytes_of_one)


class LogLikelihood(Protocol):
    """Sum of ln L over the data sets.

    Attributes
    ----------
    fold_difference : float or None
        Largest difference from the path through full spectra that was measured, relative to max(1, |ln L|);
        None for that path itself.
    side_by_side : bool
        Whether chunks may run side by side on a CPU's cores.
    """

    @property
    def fold_difference(self) -> float | None: ...  # noqa: D102

    @property
    def side_by_side(self) -> bool: ...  # noqa: D102

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L without priors; differentiable."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """Return a copy that computes on `device`."""
        ...

    def chunk(self, device: torch.device) -> int:
        """Return how many points to compute at once on a device."""
        ...


def split_columns(
    theta: torch.Tensor,  # shape: (batch, n_parameters)
    n: int,
    names: Sequence[str],
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the first n columns, those of the theory, and the rest by name, each of shape (batch,)."""
    return theta.narrow(1, 0, n), dict(zip(names, theta.unbind(1)[n:], strict=True))


def _spectra(theory: Theory, point: torch.Tensor) -> Spectra:
    """Return a theory's spectra on the points' device; a theory that cannot move (no `to`) computes on the host."""
    if hasattr(theory, "to") or point.device.type == "cpu":
        return theory.spectra(point)
    got = theory.spectra(point.cpu())
    dl, parameters = ({p: x.to(point.device) for p, x in part.items()} for part in (got.dl, got.parameters))
    return Spectra(dl, parameters)


def _differentiable(spectra: Spectra) -> bool:
    return any(x.requires_grad for x in (*spectra.dl.values(), *spectra.parameters.values()))


class Unfolded(OnDevice):
    """Full spectra of the theory, then every data set for itself.

    Parameters
    ----------
    theory : Theory
    likelihoods : sequence of Likelihood
    nuisances : sequence of str
        Columns of theta after the theory's.
    """

    fold_difference: float | None = None
    side_by_side = False

    def __init__(self, theory: Theory, likelihoods: Sequence[Likelihood], nuisances: Sequence[str]) -> None:
        self.theory, self.likelihoods, self.nuisances = theory, tuple(likelihoods), tuple(nuisances)

    def terms(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return ln L of each data set.

        Raises
        ------
        LikelihoodError
            If gradients are wanted and the theory's spectra have none.
        """
        point, nuisance = split_columns(theta, len(self.theory.parameters), self.nuisances)
        spectra = _spectra(self.theory, point)
        if theta.requires_grad and torch.is_grad_enabled() and not _differentiable(spectra):
            raise LikelihoodError(
                f"{type(self.theory).__name__} computes outside torch, so that ln L has no gradient; sample with emcee or "
                "nested, or train an emulator of this theory"
            )
        return self.terms_of_spectra(spectra, nuisance)

    def terms_of_spectra(
        self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return ln L of each data set for given spectra."""
        return {like.info.name: like.log_prob(spectra, nuisance) for like in self.likelihoods}

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the sum of :meth:`terms`."""
        return torch.stack(list(self.terms(theta).values())).sum(0)

    def chunk(self, device: torch.device) -> int:
        """Return how many points' spectra, with some ten copies in flight, fill the memory of one chunk."""
        return points_that_fit(device, 10 * 4 * 8 * (self.theory.lmax + 1))


class Restricted(OnDevice):
    """ln L of a larger model at fixed values of some of its parameters.

    Parameters
    ----------
    whole : LogLikelihood
    parameters : tuple of str
        Columns of the larger model's theta.
    fixed : mapping of str to float
    """

    def __init__(self, whole: LogLikelihood, parameters: tuple[str, ...], fixed: Mapping[str, float]) -> None:
        self.whole, self.parameters, self.fixed = whole, parameters, dict(fixed)
        self.free = tuple(p for p in parameters if p not in fixed)

    @property
    def fold_difference(self) -> float | None:
        """That of the larger model."""
        return self.whole.fold_difference

    @property
    def side_by_side(self) -> bool:
        """As the larger model's."""
        return self.whole.side_by_side

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, len(free))
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the larger model's ln L."""
        return self.whole(insert_columns(theta, self.parameters, self.free, self.fixed))

    def few_points(self) -> FewLogLikelihood | None:
        """Return the same for a few points, in numpy, where the larger model has it."""
        make = getattr(self.whole, "few_points", None)
        whole = None if make is None else make()
        return None if whole is None else FewRestricted(whole, self)

    def chunk(self, device: torch.device) -> int:
        """Return the larger model's chunk."""
        return self.whole.chunk(device)


def insert_columns(
    theta: torch.Tensor,  # shape: (batch, len(free))
    parameters: tuple[str, ...],
    free: tuple[str, ...],
    fixed: Mapping[str, float],
) -> torch.Tensor:  # shape: (batch, len(parameters))
    """Return points of the larger model from those of the smaller one.

    Examples
    --------
    >>> insert_columns(torch.tensor([[1.0, 3.0]]), ("a", "b", "c"), ("a", "c"), {"b": 2.0})
    tensor([[1., 2., 3.]])
    """
    columns = [
        torch.full_like(theta[:, 0], fixed[p]) if p in fixed else theta[:, free.index(p)] for p in parameters
    ]
    return torch.stack(columns, dim=1)
