"""A posterior whose linear steps are folded: a hundred times faster, the same within a stated difference.

Only polynomials of the parameters, a few small matrices and the priors are left; see
:mod:`cmbfit.likelihood.fold` for the algebra. The measured difference from the path through full
spectra is stated by :attr:`CompiledPosterior.fold_difference`.
"""

from __future__ import annotations

import copy
import functools
import logging
import operator
from dataclasses import replace

import numpy as np
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.fold import component_coefficients, fold, foldable, varying
from cmbfit.likelihood.folded_primordial import PrimordialPosterior
from cmbfit.likelihood.polynomial_rows import PolynomialRows
from cmbfit.likelihood.posterior import Evaluation, EvaluationCounts, Posterior
from cmbfit.likelihood.threads import one_core_threads
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.primordial_theory import PrimordialTheory

log = logging.getLogger(__name__)

_CPU_CHUNK = 512
"""Points whose features (two copies) stay in a core's cache; larger chunks are slower, not faster."""

_SMALLEST_SHARE = 256
"""Points that are worth a thread of their own."""

_LARGEST_DIFFERENCE = 1e-9
"""Relative to ln L; rounding gives 1e-13 to 1e-12. More means that a data set is not what it seems."""

NEGLECT = 1e-4
"""Mean over the box of what is dropped from chi2: a thousandth of the emulator's own error."""


class CompiledPosterior(Posterior):
    """A posterior whose Gaussian data sets are folded; same interface, many times faster.

    Parameters
    ----------
    posterior : Posterior
        With a :class:`~cmbfit.theory.emulator.linear.LinearEmulator`, any number of sets of Gaussian
        bandpowers of tt, te, ee, pp and bb with their calibrations, tables of low-l EE, and Gaussian
        measurements of a sampled parameter.
    n_check : int
        Points at which folded and unfolded paths are compared.
    neglect : float
        Mean over the box of what directions that hardly vary add to chi2 and may be dropped
        (:func:`~cmbfit.likelihood.fold.varying`); 0 drops nothing, and rounding alone is left.

    Attributes
    ----------
    fold_difference : float
        Largest |difference| of ln L between the two paths over points of the prior, relative to
        max(1, |ln L|).
    n_directions : int
        Length of the folded residual, against the number of bandpowers.

    Raises
    ------
    LikelihoodError
        If the theory or a data set cannot be folded, or the two paths differ before anything is
        dropped; use the posterior as it is then.
    """

    def __init__(self, posterior: Posterior, n_check: int = 64, neglect: float = NEGLECT) -> None:
        theory = posterior.theory
        if not isinstance(theory, LinearEmulator):
            raise LikelihoodError("only posteriors of a linear-decoder emulator can be compiled")
        gaussian, tables, direct = foldable(posterior)
        if not gaussian and not tables:
            raise LikelihoodError("no spectra to fold: every data set measures a parameter")
        self.__dict__.update(copy.copy(posterior).__dict__)
        self.counts = EvaluationCounts()
        self._tables = tables
        self._direct = direct
        self._folded = folded = fold(theory, gaussian)
        self._assemble(theory, 0.0)
        self.chunk = self._default_chunk()
        self.fold_difference = self._measure_difference(posterior, n_check)
        if not self.fold_difference < _LARGEST_DIFFERENCE:
            raise LikelihoodError(
                f"the folded ln L differs from the unfolded one by {self.fold_difference:.1e} of itself"
            )
        if neglect > 0:
            self._folded = folded
            self._assemble(theory, neglect)
            self.fold_difference = self._measure_difference(posterior, n_check)

    def _assemble(self, theory: LinearEmulator, neglect: float) -> None:
        """Stack the polynomials that are needed, each source of components once."""
        sources = dict.fromkeys(group[0] for part in self._folded for group in part.groups)
        if self._tables:
            sources["lowl_ee"] = None
        coefficients = {source: component_coefficients(theory, source) for source in sources}
        if len(self._folded) == 1 and len(self._folded[0].groups) == 1:
            (part,), (source, _) = self._folded, self._folded[0].groups[0]
            if source != "lowl_ee" and part.matrix is not None:
                # one group: the rotation goes into the coefficients
                part, coefficients[source] = varying(
                    replace(part, matrix=None),
                    part.matrix @ coefficients[source],
                    theory.arrays.degrees,
                    neglect,
                )
                self._folded = [part]
        self._rows = PolynomialRows(theory.coordinates.box, theory.arrays.degrees, coefficients)

    def _default_chunk(self) -> int:
        if self.device.type == "cpu":
            return _CPU_CHUNK
        n_rows, n_terms = self._rows.n_rows, self._rows.n_terms
        return max(1, torch.cuda.mem_get_info(self.device)[0] // (4 * 8 * (4 * n_terms + 6 * n_rows)))

    @property
    def n_directions(self) -> int:
        """Length of the folded residual."""
        return sum(len(part.target) for part in self._folded)

    def to(self, device: torch.device | str) -> CompiledPosterior:
        """Return a copy that computes on `device`."""
        moved: CompiledPosterior = super().to(device)  # type: ignore[assignment]
        moved._tables = [like.to(device) for like in self._tables]
        moved._folded = [part.to(device) for part in self._folded]
        moved._rows = self._rows.to(device)
        moved.chunk = moved._default_chunk()
        return moved

    def evaluate(self, theta: torch.Tensor) -> Evaluation:
        """Return ln (L prior) with the reasons of zero probabilities; chunks side by side on a CPU's cores.

        With gradients the chunks follow each other: autograd goes back through them in one thread.
        """
        alone = self.device.type != "cpu" or (torch.is_grad_enabled() and theta.requires_grad)
        threads = None if alone or len(theta) < 2 * _SMALLEST_SHARE else one_core_threads()
        if threads is None:
            return super().evaluate(theta)
        self._check_shape(theta)
        share = -(-len(theta) // torch.get_num_threads())
        parts = theta.split(min(self.chunk, max(_SMALLEST_SHARE, share)))
        done = list(threads.map(self._evaluate_without_gradient, parts))
        counts = functools.reduce(operator.add, (part.counts for part in done))
        return Evaluation(torch.cat([part.log_prob for part in done]), counts)

    @torch.no_grad()
    def _evaluate_without_gradient(self, theta: torch.Tensor) -> Evaluation:
        return super().evaluate(theta)

    def _log_like(self, theta: torch.Tensor) -> torch.Tensor:
        theory: LinearEmulator = self.theory  # type: ignore[assignment]
        point, nuisance = self._split(theta)
        components = self._rows(theory.coordinates(point))
        amplitudes = {source: self._amplitude(source, point) for source in components}
        if "lowl_ee" in components:
            components["lowl_ee"] = torch.exp(components["lowl_ee"])
        terms = []
        for part in self._folded:
            scales = {}
            for group in part.groups:
                scale = amplitudes[group[0]]
                for name, power in group[1]:
                    scale = scale * nuisance[name] ** power
                scales[group] = scale
            terms.append(-0.5 * part.chi2(components, scales))
        for like in self._tables:
            dl = components["lowl_ee"] * amplitudes["lowl_ee"]
            values = {name: nuisance[name] for name in like.info.nuisance}
            terms.append(like.log_prob_of_rows(dl[like.lmin - 2 : like.lmax - 1], values))
        for measured in self._direct:
            column = theory.parameters.index(measured.parameter)
            terms.append(measured.log_prob_of_parameter(point[:, column]))
        return functools.reduce(torch.add, terms)

    def _amplitude(self, source: str, point: torch.Tensor) -> torch.Tensor:
        """Return the factor of a source's components, shape (batch,)."""
        theory: LinearEmulator = self.theory  # type: ignore[assignment]
        if source == "template":
            return torch.ones_like(point[:, 0])
        return (
            theory.scalar_amplitude(point) if source == "lowl_ee" else theory.block_amplitude(source, point)
        )

    def _measure_difference(self, posterior: Posterior, n: int) -> float:
        """Largest difference of ln L from the unfolded path at draws from prior and box."""
        rng = np.random.default_rng(0)
        columns = []
        for name in self.parameters:
            low, high = self.theory.box.get(name, (-np.inf, np.inf))
            columns.append(np.clip(self.priors[name].sample(rng, n), low, high))
        theta = torch.from_numpy(np.stack(columns, axis=1)).to(self.device)
        with torch.no_grad():
            unfolded = Posterior._log_like(posterior, theta)
            folded = self._log_like(theta)
        same = torch.isneginf(unfolded) & torch.isneginf(folded)
        difference = (folded - unfolded).abs() / unfolded.abs().clamp(min=1.0)
        return float(torch.where(same, 0.0, difference).nan_to_num(nan=torch.inf).max())


def compile_if_possible(posterior: Posterior) -> Posterior:
    """Fold a posterior's linear steps, or return it with the reason in its `not_folded`."""
    try:
        if isinstance(posterior.theory, PrimordialTheory):
            return PrimordialPosterior(posterior)
        return CompiledPosterior(posterior)
    except LikelihoodError as error:
        posterior.not_folded = str(error)
        log.warning("not folded, so slower: %s", error)
        return posterior
