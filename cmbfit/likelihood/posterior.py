"""Posterior = theory + likelihoods + priors; each thing counted once."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cmbfit.errors import LikelihoodError, ParameterError
from cmbfit.likelihood.base import Likelihood, refuse_double_counting
from cmbfit.likelihood.priors import JointGaussian, Prior, sum_log_prior
from cmbfit.theory.base import Theory
from cmbfit.theory.parameters import unknown_name
from cmbfit.theory.spectra import Spectra

log = logging.getLogger(__name__)


@dataclass
class EvaluationCounts:
    """How many points were evaluated and why some had probability zero."""

    evaluations: int = 0
    outside_prior: int = 0
    outside_box: int = 0
    not_a_number: int = 0


class Posterior:
    """Joint log-probability of cosmological and nuisance parameters.

    Parameters
    ----------
    theory : Theory
    likelihoods : sequence of Likelihood
    priors : mapping of str to Prior
        Exactly one prior for each theory parameter; nuisance parameters may be given too, else the
        data sets' recommended priors hold. Two data sets that share a nuisance parameter share one
        prior, which is added once.

    Attributes
    ----------
    parameters : tuple of str
        Columns of `theta`: the theory's parameters, then the nuisances.
    counts : EvaluationCounts
        Running totals over all calls of :meth:`log_prob`.

    Raises
    ------
    LikelihoodError
        If data sets overlap, disagree about a shared prior, or need spectra the theory lacks.
    ParameterError
        If a prior is missing or names an unknown parameter.
    """

    def __init__(
        self, theory: Theory, likelihoods: Sequence[Likelihood], priors: Mapping[str, Prior]
    ) -> None:
        if not likelihoods:
            raise LikelihoodError("a posterior needs at least one data set")
        refuse_double_counting([like.info for like in likelihoods])
        self.theory = theory
        self.likelihoods = tuple(likelihoods)
        self.nuisances = _shared_nuisances(likelihoods, priors)
        self.parameters = (*theory.parameters, *self.nuisances)
        for name in priors:
            if name not in self.parameters:
                raise ParameterError(unknown_name("parameter with a prior", name, self.parameters))
        if missing := [p for p in theory.parameters if p not in priors]:
            raise ParameterError(f"no prior for {', '.join(missing)}")
        self.priors: dict[str, Prior] = {
            p: priors[p] if p in priors else self.nuisances[p] for p in self.parameters
        }
        self.joint_priors = _joint_priors(likelihoods, priors)
        for like in likelihoods:
            if like.lmax > theory.lmax:
                raise LikelihoodError(
                    f"{like.info.name} needs l = {like.lmax}, the theory stops at {theory.lmax}"
                )
        self.counts = EvaluationCounts()
        self.fold_difference: float | None = None  # see CompiledPosterior
        self.device = torch.device("cpu")

    def settings(self) -> dict[str, Any]:
        """Return everything that defines the numbers, JSON-able."""
        return {
            "theory": self.theory.settings,
            "data": {like.info.name: like.settings() for like in self.likelihoods},
            "priors": {name: prior.describe() for name, prior in self.priors.items()},
            "joint_priors": [prior.describe() for prior in self.joint_priors],
        }

    def _split(self, theta: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        n = len(self.theory.parameters)
        return theta[:, :n], {name: theta[:, n + i] for i, name in enumerate(self.nuisances)}

    def _check_shape(self, theta: torch.Tensor) -> None:
        if theta.ndim != 2 or theta.shape[1] != len(self.parameters):
            raise ParameterError(
                f"theta: expected shape (batch, {len(self.parameters)}) for {', '.join(self.parameters)}, "
                f"found {tuple(theta.shape)}"
            )

    def log_prior(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the sum of the log prior densities, each parameter once."""
        self._check_shape(theta)
        values = {p: theta[:, i] for i, p in enumerate(self.parameters)}
        return sum_log_prior(values, self.priors, self.joint_priors)

    def log_likelihoods(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return ln L of each data set, without priors.

        Raises
        ------
        OutsideBoxError
            If a point lies outside the theory's range.
        """
        self._check_shape(theta)
        point, nuisance = self._split(theta)
        return self.log_likelihoods_of_spectra(self.theory.spectra(point), nuisance)

    def log_likelihoods_of_spectra(
        self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return ln L of each data set for given spectra."""
        return {like.info.name: like.log_prob(spectra, nuisance) for like in self.likelihoods}

    def _log_like(self, theta: torch.Tensor) -> torch.Tensor:
        """Sum of ln L; the one step that a compiled posterior replaces."""
        return torch.stack(list(self.log_likelihoods(theta).values())).sum(0)

    def log_prob(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln (L prior): -inf outside the prior or the theory's box, never NaN; differentiable."""
        self._check_shape(theta)
        prior = self.log_prior(theta)
        allowed = torch.isfinite(prior)
        inside = torch.ones_like(allowed)
        for i, name in enumerate(self.theory.parameters):
            low, high = self.theory.box[name]
            inside &= (theta[:, i] >= low) & (theta[:, i] <= high)
        use = allowed & inside
        # -inf, not NaN * 0, for rows that are skipped: the gradient of the rest stays clean
        out = torch.full_like(prior, -torch.inf)
        if bool(use.any()):
            value = prior[use] + self._log_like(theta[use])
            bad = torch.isnan(value)
            out = out.masked_scatter(use, torch.where(bad, -torch.inf, value))
            self.counts.not_a_number += int(bad.sum())
        self.counts.evaluations += len(theta)
        self.counts.outside_prior += int((~allowed).sum())
        self.counts.outside_box += int((allowed & ~inside).sum())
        return out

    def to(self, device: torch.device | str) -> Posterior:
        """Return a copy that computes on `device`."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        moved.likelihoods = tuple(like.to(device) for like in self.likelihoods)
        if hasattr(self.theory, "to"):
            moved.theory = self.theory.to(device)
        moved.counts = EvaluationCounts()
        return moved


def _shared_nuisances(likelihoods: Sequence[Likelihood], given: Mapping[str, Prior]) -> dict[str, Prior]:
    """Nuisance parameters in order of first use, each with its one prior."""
    out: dict[str, Prior] = {}
    owner: dict[str, str] = {}
    for like in likelihoods:
        for name, prior in like.info.nuisance.items():
            if name in out and name not in given and out[name] != prior:
                raise LikelihoodError(
                    f"{owner[name]} and {like.info.name} recommend different priors for {name}: "
                    f"{out[name]} and {prior}; give one in the configuration"
                )
            out.setdefault(name, given.get(name, prior))
            owner.setdefault(name, like.info.name)
    return out


def _joint_priors(likelihoods: Sequence[Likelihood], given: Mapping[str, Prior]) -> tuple[JointGaussian, ...]:
    """Correlated priors of the data sets, each once, unless the user gives other priors instead."""
    out: list[JointGaussian] = []
    for like in likelihoods:
        for joint in like.info.joint_priors:
            replaced = [name for name in joint.names if name in given]
            if replaced and len(replaced) < len(joint.names):
                raise LikelihoodError(
                    f"{like.info.name} has one prior for {', '.join(joint.names)} together; "
                    f"give all of them in the configuration or none, not {', '.join(replaced)} alone"
                )
            if not replaced and joint not in out:
                out.append(joint)
    return tuple(out)


def pick_device(name: str) -> torch.device:
    """Return the torch device for `auto`, `cpu` or `cuda`.

    `auto` takes CUDA when there is one. `cuda` without a GPU falls back to the CPU with a warning, so
    that a configuration made for a cluster still runs on a laptop.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ParameterError(f"device: expected auto, cpu or cuda, found {name!r}")
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if name == "cuda":
        log.warning("CUDA was asked for, but torch finds no GPU: computing on the CPU")
    return torch.device("cpu")
