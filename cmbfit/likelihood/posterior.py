"""Posterior = theory + likelihoods + priors; each thing counted once."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from cmbfit.errors import LikelihoodError, ParameterError
from cmbfit.likelihood.base import Likelihood, refuse_double_counting
from cmbfit.likelihood.prior_table import PriorTable
from cmbfit.likelihood.priors import JointGaussian, Prior
from cmbfit.theory.base import Theory
from cmbfit.theory.parameters import unknown_name
from cmbfit.theory.spectra import Spectra

log = logging.getLogger(__name__)


_CHUNK_BYTES = 2**29
"""Memory that one chunk of points may take."""


@dataclass
class EvaluationCounts:
    """How many points were evaluated and why some had probability zero.

    `outside_box` counts points outside the theory's box and those that the theory's `allowed` refuses.
    """

    evaluations: int = 0
    outside_prior: int = 0
    outside_box: int = 0
    not_a_number: int = 0

    def __add__(self, other: EvaluationCounts) -> EvaluationCounts:
        return EvaluationCounts(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )


class Evaluation(NamedTuple):
    """ln (L prior) of a batch, and why points among it had probability zero.

    Attributes
    ----------
    log_prob : torch.Tensor, shape (batch,)
    counts : EvaluationCounts
    """

    log_prob: torch.Tensor
    counts: EvaluationCounts


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
    chunk : int
        Points that are computed at once; larger batches are cut. Halved when memory runs out.
    fold_difference : float or None
        See :class:`~cmbfit.likelihood.compiled.CompiledPosterior`; None for this slower path.
    not_folded : str or None
        Why this posterior could not be compiled, once that was tried.

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
        self.fold_difference: float | None = None
        self.not_folded: str | None = None
        self.device = torch.device("cpu")
        self._prior_table = PriorTable(self.parameters, self.priors, self.joint_priors, theory.box)
        self.chunk = self._default_chunk()

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
        return theta.narrow(1, 0, n), dict(zip(self.nuisances, theta.unbind(1)[n:], strict=True))

    def _check_shape(self, theta: torch.Tensor) -> None:
        if not isinstance(theta, torch.Tensor):
            raise ParameterError(
                f"theta: expected a torch tensor, found {type(theta).__name__}; use torch.from_numpy"
            )
        if theta.ndim != 2 or theta.shape[1] != len(self.parameters):
            raise ParameterError(
                f"theta: expected shape (batch, {len(self.parameters)}) for {', '.join(self.parameters)}, "
                f"found {tuple(theta.shape)}"
            )

    def _default_chunk(self) -> int:
        """Points whose spectra, with some ten copies in flight, fill the memory of one chunk."""
        return max(1, _CHUNK_BYTES // (10 * 4 * 8 * (self.theory.lmax + 1)))

    def log_prior(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the sum of the log prior densities, each parameter once; -inf outside their support."""
        self._check_shape(theta)
        value, allowed, _ = self._prior_table(theta)
        return torch.where(allowed, value, -torch.inf)

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
        value, counts = self.evaluate(theta)
        self.counts += counts
        return value

    def evaluate(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Evaluation:
        """Return ln (L prior) with the reasons of zero probabilities; leaves :attr:`counts` alone.

        A batch larger than :attr:`chunk` is cut. When memory runs out, the chunk is halved and the
        points are computed again; when a GPU has no room for a single point, the CPU takes over.

        Raises
        ------
        LikelihoodError
            If the CPU has no memory for a single point.
        """
        self._check_shape(theta)
        parts: list[torch.Tensor] = []
        counts, start = EvaluationCounts(), 0
        while start < len(theta) or not parts:
            rows = (theta if len(theta) <= self.chunk else theta[start : start + self.chunk]).to(self.device)
            try:
                value, more = self._evaluate_chunk(rows)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                self._shrink(len(rows), error)
                continue
            parts.append(value.to(theta.device))
            counts += more
            start += len(rows)
        return Evaluation(parts[0] if len(parts) == 1 else torch.cat(parts), counts)

    def _evaluate_chunk(self, theta: torch.Tensor) -> Evaluation:
        prior, allowed, inside = self._prior_table(theta)
        use = allowed if inside is allowed else allowed & inside
        if hasattr(self.theory, "allowed") and bool(use.any()):
            # a domain that is no box: primordial spectra that are not positive, bounds of a model
            inside = inside.clone()
            inside[use] = self.theory.allowed(theta[use][:, : len(self.theory.parameters)])
            use = allowed & inside
        counts = EvaluationCounts(len(theta))
        if bool(use.all()):
            value = prior + self._log_like(theta)
        else:
            # -inf, not NaN * 0, for rows that are skipped: the gradient of the rest stays clean
            value = torch.full_like(prior, -torch.inf)
            if bool(use.any()):
                value = value.masked_scatter(use, prior[use] + self._log_like(theta[use]))
            counts.outside_prior = int((~allowed).sum())
            counts.outside_box = int((allowed & ~inside).sum())
        # written so that NaN is bad, and +inf, which comes from overflow as NaN does; the sum shows either
        if not float(value.detach().sum()) < torch.inf:
            bad = ~(value < torch.inf)
            counts.not_a_number = int(bad.sum())
            value = torch.where(bad, -torch.inf, value)
        return Evaluation(value, counts)

    def _shrink(self, rows: int, error: BaseException) -> None:
        """Halve the chunk; below one point leave the GPU for the CPU, or give up."""
        if rows > 1:
            self.chunk = rows // 2
            log.warning("out of memory with %d points at once: going on with %d", rows, self.chunk)
        elif self.device.type != "cpu":
            log.warning("%s has no memory for a single point: going on with the CPU", self.device)
            counts = self.counts
            self.__dict__.update(self.to("cpu").__dict__)
            self.counts, self.chunk = counts, self._default_chunk()
        else:
            raise LikelihoodError(
                "no memory for a single point of this posterior; free memory or fit fewer data sets at once"
            ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def to(self, device: torch.device | str) -> Posterior:
        """Return a copy that computes on `device`."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        moved.likelihoods = tuple(like.to(device) for like in self.likelihoods)
        if hasattr(self.theory, "to"):
            moved.theory = self.theory.to(device)
        moved._prior_table = self._prior_table.to(device)
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


def _out_of_memory(error: BaseException) -> bool:
    """Tell torch's and Python's ways to say that memory ran out from other failures."""
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in text for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


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
