"""Posterior = theory + likelihoods + priors; each thing counted once."""

from __future__ import annotations

import copy
import functools
import logging
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch

from cmbfit.device import OnDevice, moved, usable
from cmbfit.errors import LikelihoodError, ParameterError, unknown_name
from cmbfit.likelihood.base import Likelihood, described, refuse_double_counting
from cmbfit.likelihood.evaluation import (
    Counts,
    Evaluation,
    EvaluationCounts,
    evaluate_chosen,
    evaluate_masked,
    out_of_memory,
)
from cmbfit.likelihood.few_points import few_for
from cmbfit.likelihood.log_likelihood import LogLikelihood, Unfolded, insert_columns
from cmbfit.likelihood.points import Points, as_points
from cmbfit.likelihood.prior_mass import PriorMass, prior_mass
from cmbfit.likelihood.prior_table import PriorTable
from cmbfit.likelihood.priors import Gaussian, Prior, require_density
from cmbfit.likelihood.shared_priors import shared_priors
from cmbfit.likelihood.threads import one_core_threads
from cmbfit.theory.base import Checked, Theory

log = logging.getLogger(__name__)

_SMALLEST_SHARE = 256
"""Points that are worth a thread of their own."""

_CUT_REFUSED = 0.05
_CUT_RECORDED = 1e-4
"""Share of a prior's mass outside the theory's box that is refused, or said and recorded."""


class Posterior(OnDevice):
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
    nuisances : dict of str to Prior
    priors : dict of str to Prior
    joint_priors : tuple of JointGaussian
    log_like : LogLikelihood
        How ln L is computed; :func:`~cmbfit.likelihood.compiled.compile_posterior` replaces it by a faster one.
    fixed : dict of str to float
        Parameters of the larger model that are held; see :func:`~cmbfit.inference.restrict.restrict`.
    whole : Posterior
        That larger model; itself if nothing is held.
    counts : EvaluationCounts
        Running totals over all calls of :meth:`log_prob`.
    device : torch.device
    chunk : int
        Points that are computed at once; larger batches are cut. Halved when memory runs out.
    not_folded : str or None
        Why this posterior could not be compiled, once that was tried.

    Raises
    ------
    LikelihoodError
        If data sets overlap, disagree about a shared prior, or need spectra the theory lacks.
    ParameterError
        If a prior is missing, names an unknown parameter, or is Gaussian and lies outside the theory's box by
        more than 5%.
    """

    def __init__(
        self, theory: Theory, likelihoods: Sequence[Likelihood], priors: Mapping[str, Prior]
    ) -> None:
        if not likelihoods:
            raise LikelihoodError("a posterior needs at least one data set")
        refuse_double_counting([like.info for like in likelihoods])
        self.theory = theory
        self.likelihoods = tuple(likelihoods)
        self.nuisances, self.joint_priors = shared_priors(likelihoods, priors)
        self.parameters = (*theory.parameters, *self.nuisances)
        for name in priors:
            if name not in self.parameters:
                raise ParameterError(unknown_name("parameter with a prior", name, self.parameters))
        if missing := [p for p in theory.parameters if p not in priors]:
            raise ParameterError(f"no prior for {', '.join(missing)}")
        self.priors: dict[str, Prior] = {
            p: priors[p] if p in priors else self.nuisances[p] for p in self.parameters
        }
        for name, prior in self.priors.items():
            require_density(name, prior)
        for like in likelihoods:
            if like.lmax > theory.lmax:
                raise LikelihoodError(
                    f"{like.info.name} needs l = {like.lmax}, the theory stops at {theory.lmax}"
                )
        self._refuse_cut_priors()
        self.fixed: dict[str, float] = {}
        self._whole: Posterior | None = None
        self._prior_mass: PriorMass | None = None
        self.not_folded: str | None = None
        self.device = torch.device("cpu")
        self.log_like: LogLikelihood = self.unfolded
        self._start_over()

    def _refuse_cut_priors(self) -> None:
        for name in self.theory.parameters:
            share, (low, high) = self.cut_share(name), self.theory.box.get(name, (-math.inf, math.inf))
            if share <= _CUT_RECORDED:
                continue
            what = f"{share:.2g} of the prior of {name} lies outside [{low:g}, {high:g}], where the theory is valid"
            # a flat prior cut short is a flat prior
            if share > _CUT_REFUSED and isinstance(self.priors[name], Gaussian):
                raise ParameterError(
                    f"{what}; expected at most {_CUT_REFUSED:g}: narrow the prior or take a theory with a wider box"
                )
            log.warning("%s: it is cut there", what)

    def _start_over(self) -> None:
        """Make what follows from parameters, priors, ln L and device; count from zero."""
        table = PriorTable(self.parameters, self.priors, self.joint_priors, self.theory.box)
        if self._prior_mass is not None:
            table.normalise(self._prior_mass.log_mass)
        self.prior_table = table.to(self.device)
        self.counts = EvaluationCounts()
        self.chunk = self.log_like.chunk(self.device)
        self.few: Any = ()  # not made yet; None if there is none

    @property
    def counts(self) -> EvaluationCounts:
        """Running totals; to look at them waits for the device."""
        if self._unread is not None:
            self.counts = self._counts + self._unread
        return self._counts

    @counts.setter
    def counts(self, counts: EvaluationCounts) -> None:
        self._counts = counts
        self._unread: Counts | None = None

    def _count(self, counts: Counts) -> None:
        if isinstance(counts, EvaluationCounts):
            self._counts += counts
        else:
            self._unread = counts if self._unread is None else self._unread + counts

    def replace(self, log_like: LogLikelihood, **changes: Any) -> Posterior:
        """Return a posterior with another ln L, and other attributes by name; it counts for itself."""
        out = copy.copy(self)
        vars(out).update(changes, log_like=log_like)
        if changes.keys() & {"theory", "priors", "parameters"}:
            out._prior_mass = None
        out._start_over()
        return out

    def to(self, device: torch.device | str) -> Self:
        """Return a copy that computes on `device`; it counts for itself."""
        out = moved(self, usable(device))
        out.whole._start_over()
        out._start_over()
        return out

    @property
    def unfolded(self) -> Unfolded:
        """Ln L by the path through full spectra, whatever :attr:`log_like` is."""
        return Unfolded(self.theory, self.likelihoods, tuple(self.nuisances))

    @property
    def whole(self) -> Posterior:
        """The larger model within which parameters are held; itself if none are."""
        return self if self._whole is None else self._whole

    @property
    def prior_mass(self) -> PriorMass:
        """Share of the priors where the theory is valid, by which :meth:`log_prior` is normalised; measured once."""
        if self._prior_mass is None:
            args = self.parameters, self.priors, self.joint_priors, self.theory, self.device
            self._prior_mass = prior_mass(*args)
            self.prior_table.normalise(self._prior_mass.log_mass)
        return self._prior_mass

    @property
    def fold_difference(self) -> float | None:
        """Largest measured difference of ln L from the path through full spectra, relative to max(1, |ln L|).

        None for that path itself.
        """
        return self.log_like.fold_difference

    @property
    def support(self) -> dict[str, tuple[float, float]]:
        """Range of each parameter where prior and theory allow it."""
        out = {}
        for name, prior in self.priors.items():
            (low, high), (first, last) = prior.support, self.theory.box.get(name, (-math.inf, math.inf))
            out[name] = float(max(low, first)), float(min(high, last))
        return out

    def cut_share(self, parameter: str) -> float:
        """Return which part of a parameter's prior lies outside the theory's box."""
        return self.priors[parameter].mass_outside(*self.theory.box.get(parameter, (-math.inf, math.inf)))

    def settings(self) -> dict[str, Any]:
        """Return everything that defines the numbers, JSON-able.

        ``support`` names the priors of which the theory's box cuts more than 1e-4.
        """
        cut = {p: self.cut_share(p) for p in self.theory.parameters}
        support = {
            p: {"range": list(self.support[p]), "cut_share": share}
            for p, share in cut.items()
            if share > _CUT_RECORDED
        }
        return {
            "theory": self.theory.settings,
            "data": {like.info.name: described(like) for like in self.likelihoods},
            "priors": {name: prior.describe() for name, prior in self.priors.items()},
            "joint_priors": [prior.describe() for prior in self.joint_priors],
        } | ({"support": support} if support else {})

    def expand(
        self,
        theta: Points,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch, n_parameters of the larger model)
        """Return the same points as :attr:`whole` knows them."""
        theta = as_points(theta, self.parameters)
        return (
            insert_columns(theta, self.whole.parameters, self.parameters, self.fixed) if self.fixed else theta
        )

    def log_prior(
        self,
        theta: Points,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the log prior density, normalised by :attr:`prior_mass`; -inf outside the priors' support."""
        theta = as_points(theta, self.parameters)
        _ = self.prior_mass
        value, allowed, _ = self.prior_table(theta.to(self.device))
        return torch.where(allowed, value, -torch.inf).to(theta.device)

    def log_likelihoods(
        self,
        theta: Points,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return ln L of each data set, without priors.

        Raises
        ------
        OutsideBoxError
            If a point lies outside the theory's range.
        """
        theta = self.expand(theta)
        terms = self.whole.unfolded.terms(theta.to(self.device))
        return {name: x.to(theta.device) for name, x in terms.items()}

    def log_prob(
        self,
        theta: Points,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln (L prior): -inf outside the prior or the theory's box, never NaN; differentiable.

        Points of any device are taken; the result is float64 and on theirs.
        """
        value, counts = self._evaluate(theta)
        self._count(counts)
        return value

    def log_prob_and_gradient(
        self,
        theta: Points,  # shape: (batch, n_parameters)
    ) -> tuple[torch.Tensor, torch.Tensor]:  # shapes: (batch,), (batch, n_parameters)
        """Return :meth:`log_prob` and its gradient, zero where the probability is; chunk after chunk, both ways.

        Where ln L is no smooth function the gradient may be infinite or NaN.

        Raises
        ------
        LikelihoodError
            If the theory computes outside torch, so that nothing is known of its derivatives.
        """
        theta = as_points(theta, self.parameters).detach()
        few, _ = few_for(self, theta), self.prior_mass
        (value, gradient), counts = (
            few.slopes(theta) if few else self._in_turn(theta, self._differentiate_chunk)
        )
        self._count(counts)
        return value, gradient

    def evaluate(
        self,
        theta: Points,  # shape: (batch, n_parameters)
    ) -> Evaluation:
        """Return ln (L prior) with the reasons of zero probabilities; leaves :attr:`counts` alone.

        A batch larger than :attr:`chunk` is cut. Chunks run side by side on a CPU's cores where ln L allows it,
        unless gradients are wanted: autograd goes back through them in one thread.

        Raises
        ------
        ParameterError
            If theta is neither a tensor nor an array of floats, or has another shape.
        LikelihoodError
            If the CPU has no memory for a single point.
        """
        value, counts = self._evaluate(theta)
        return Evaluation(value, counts.read())

    def _evaluate(self, theta: Points) -> tuple[torch.Tensor, Counts]:
        theta = as_points(theta, self.parameters)
        if few := few_for(self, theta):
            return few.values(theta)
        _ = self.prior_mass  # before threads ask for it
        alone = self.device.type != "cpu" or (torch.is_grad_enabled() and theta.requires_grad)
        alone = alone or not self.log_like.side_by_side or len(theta) < 2 * _SMALLEST_SHARE
        threads = None if alone else one_core_threads()
        if threads is None:
            return self._evaluate_in_turn(theta)
        share = -(-len(theta) // torch.get_num_threads())
        parts = theta.split(min(self.chunk, max(_SMALLEST_SHARE, share)))
        done = list(threads.map(torch.no_grad()(self._evaluate_in_turn), parts))
        return torch.cat([value for value, _ in done]), functools.reduce(operator.add, (n for _, n in done))

    def _evaluate_in_turn(self, theta: torch.Tensor) -> tuple[torch.Tensor, Counts]:
        (value,), counts = self._in_turn(theta, self._evaluate_chunk)
        return value, counts

    def _in_turn(
        self,
        theta: torch.Tensor,
        compute: Callable[[torch.Tensor], tuple[tuple[torch.Tensor, ...], Counts]],
    ) -> tuple[tuple[torch.Tensor, ...], Counts]:
        """Compute chunk after chunk.

        When memory runs out, the chunk is halved and the points are computed again; when a GPU has no room for a
        single point, the CPU takes over.
        """
        parts: list[tuple[torch.Tensor, ...]] = []
        counts: list[Counts] = []
        start = 0
        while start < len(theta) or not parts:
            rows = (theta if len(theta) <= self.chunk else theta[start : start + self.chunk]).to(self.device)
            try:
                done, more = compute(rows)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self._shrink(len(rows), error)
                continue
            parts.append(tuple(x.to(theta.device) for x in done))
            counts.append(more)
            start += len(rows)
        out = parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))
        return out, functools.reduce(operator.add, counts)

    def _differentiate_chunk(self, rows: torch.Tensor) -> tuple[tuple[torch.Tensor, torch.Tensor], Counts]:
        with torch.enable_grad():
            rows = rows.detach().requires_grad_(True)
            (value,), counts = self._evaluate_chunk(rows)
            if not value.requires_grad:  # every point is outside
                return (value, torch.zeros_like(rows)), counts
            (gradient,) = torch.autograd.grad(value.sum(), rows)
        return (value.detach(), gradient), counts

    def _evaluate_chunk(self, theta: torch.Tensor) -> tuple[tuple[torch.Tensor], Counts]:
        prior, allowed, inside = self.prior_table(theta)
        with Checked(self.whole.theory.box):
            if theta.device.type != "cpu":
                return evaluate_masked(self, theta, prior, allowed, inside)
            return evaluate_chosen(self, theta, prior, allowed, inside)

    def _shrink(self, rows: int, error: BaseException) -> None:
        """Halve the chunk; below one point leave the GPU for the CPU, or give up."""
        if rows > 1:
            self.chunk = rows // 2
            log.warning("out of memory with %d points at once: going on with %d", rows, self.chunk)
        elif self.device.type != "cpu":
            log.warning("%s has no memory for a single point: going on with the CPU", self.device)
            vars(self).update(vars(self.to("cpu")) | {"_counts": self.counts, "_unread": None})
        else:
            raise LikelihoodError(
                "no memory for a single point of this posterior; free memory or fit fewer data sets at once"
            ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
