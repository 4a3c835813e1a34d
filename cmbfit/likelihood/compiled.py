"""A posterior whose linear steps are folded: a hundred times faster, the same within a stated difference.

Only polynomials of the parameters, a few small matrices and the priors are left; see
:mod:`cmbfit.likelihood.fold` for the algebra. The measured difference from the path through full
spectra is stated by :attr:`Posterior.fold_difference`.
"""

from __future__ import annotations

import functools
import logging

import numpy as np
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.fold import fold, foldable, unrotated
from cmbfit.likelihood.folded import FoldedLogLikelihood
from cmbfit.likelihood.folded_primordial import PrimordialImprint
from cmbfit.likelihood.low_redshift.together import DistancesAlone
from cmbfit.likelihood.posterior import EvaluationCounts, Posterior
from cmbfit.likelihood.priors import Gaussian
from cmbfit.theory.background.theory import BackgroundTheory
from cmbfit.theory.base import Theory
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.primordial.model import NS
from cmbfit.theory.primordial_theory import FIDUCIAL, PrimordialTheory
from cmbfit.theory.transfer.expansion import BACKGROUND

log = logging.getLogger(__name__)

_LARGEST_DIFFERENCE = 1e-9
"""Relative to ln L; rounding gives 1e-13 to 1e-12. More means that a data set is not what it seems."""

_LARGEST_OF_DISTANCES = 1e-7
"""Relative to ln L: the interpolation to supernovae, all over the box of w0-wa, where ln L is thousands."""

_LARGEST_OF_IMPRINT = 0.02
"""In ln L, of primordial models: single precision and dropped directions of the corrections."""

NEGLECT = 1e-4
"""Mean over the box of what is dropped from chi2: a thousandth of the emulator's own error."""


def compile_posterior(
    posterior: Posterior, *, neglect: float = NEGLECT, n_check: int | None = None
) -> Posterior:
    """Return the same posterior with its Gaussian data sets folded: many times faster.

    Parameters
    ----------
    posterior : Posterior
        Of a linear-decoder emulator or of a primordial model on top of one, with any number of sets of Gaussian
        bandpowers of tt, te, ee, pp and bb with their calibrations, tables of low-l EE, and Gaussian
        measurements of a sampled parameter.
    neglect : float
        Mean over the box of what directions that hardly vary add to chi2 and may be dropped
        (:func:`~cmbfit.likelihood.fold.varying`); 0 drops nothing, and rounding alone is left. Primordial
        models drop nothing here.
    n_check : int, optional
        Points at which folded and unfolded paths are compared: by default 64 draws from the prior, or, of a
        primordial model, the 16 likeliest of many, and those at the cosmology of its transfer functions.

    Returns
    -------
    Posterior
        With `fold_difference`, the largest |difference| of ln L between the two paths at these points,
        relative to max(1, |ln L|).

    Raises
    ------
    LikelihoodError
        If the theory or a data set cannot be folded, or the two paths differ before anything is dropped
        (of a primordial model by more than 0.02 in ln L; where it is excluded, by more than 5e-4 of the
        difference to the best fit); use the posterior as it is then.
    """
    if posterior.device.type != "cpu":
        on_cpu = compile_posterior(posterior.to("cpu"), neglect=neglect, n_check=n_check)
        return on_cpu.to(posterior.device)
    return _compiled(posterior.theory, posterior, neglect, n_check)


def compile_if_possible(posterior: Posterior) -> Posterior:
    """Fold a posterior's linear steps, or return it with the reason in its `not_folded`."""
    try:
        return compile_posterior(posterior)
    except LikelihoodError as error:
        posterior.not_folded = str(error)
        log.warning("not folded, so slower: %s", error)
        return posterior


@functools.singledispatch
def _compiled(theory: Theory, posterior: Posterior, neglect: float, n_check: int | None) -> Posterior:  # noqa: ARG001
    """Fold by what the theory is; theories that fold are registered below."""
    raise LikelihoodError("only posteriors of a linear-decoder emulator can be compiled")


@_compiled.register
def _(theory: LinearEmulator, posterior: Posterior, neglect: float, n_check: int | None) -> Posterior:
    data = foldable(posterior)
    if not (data.gaussian or data.tables or data.linear or data.distances):
        raise LikelihoodError("nothing to fold: every data set measures a parameter")
    theta = _draws(posterior, n_check or 64)
    with torch.no_grad():
        unfolded = posterior.unfolded(theta)
    parts = fold(theory, data.gaussian)

    def folded(neglect: float) -> FoldedLogLikelihood:
        out = FoldedLogLikelihood(theory, posterior.unfolded.nuisances, theory, data, parts, neglect)
        with torch.no_grad():
            out.fold_difference = _relative_difference(out(theta), unfolded)
        return out

    log_like = folded(0.0)
    difference = log_like.fold_difference
    if difference is None or not difference < _LARGEST_DIFFERENCE:
        raise LikelihoodError(f"the folded ln L differs from the unfolded one by {difference:.1e} of itself")
    return posterior.replace(folded(neglect) if neglect > 0 else log_like)


@_compiled.register
def _(theory: BackgroundTheory, posterior: Posterior, neglect: float, n_check: int | None) -> Posterior:  # noqa: ARG001
    data = foldable(posterior)
    if len(data.distances) < len(posterior.likelihoods):
        other = next(x for x in posterior.likelihoods if x not in data.distances)
        raise LikelihoodError(f"{other.info.name} is no measurement of distances")
    theta = _draws(posterior, n_check or 64)
    theta = theta[theory.allowed(theta[:, : len(theory.parameters)])]
    log_like = DistancesAlone(theory, posterior.unfolded.nuisances, data.distances)
    with torch.no_grad():
        difference = _relative_difference(log_like(theta), posterior.unfolded(theta))
    if not difference < _LARGEST_OF_DISTANCES:
        raise LikelihoodError(f"the folded ln L differs from the unfolded one by {difference:.1e} of itself")
    log_like.fold_difference = difference
    return posterior.replace(log_like)


@_compiled.register
def _(theory: PrimordialTheory, posterior: Posterior, neglect: float, n_check: int | None) -> Posterior:  # noqa: ARG001
    data, coarse = foldable(posterior), theory.coarse()
    if data.linear:
        raise LikelihoodError(f"{data.linear[0].info.name} is not folded below a primordial spectrum")
    parts = [unrotated(theory.emulator, like) for like in data.gaussian]
    imprint = PrimordialImprint(coarse, data)
    nuisances = posterior.unfolded.nuisances
    log_like = FoldedLogLikelihood(coarse, nuisances, theory.emulator, data, parts, imprint=imprint)
    out = posterior.replace(log_like, theory=coarse)
    theta = _likeliest(out, coarse, n_check or 16)
    out.counts = EvaluationCounts()
    if not len(theta):
        raise LikelihoodError("no spectrum of the model's prior has a likelihood above zero")
    with torch.no_grad():
        unfolded, folded = posterior.unfolded(theta), log_like(theta)
    difference = (folded - unfolded).abs()
    # where the model is ruled out, its imprint and the error of it are large
    allowed = _LARGEST_OF_IMPRINT + 5e-4 * (unfolded.max() - unfolded)
    if not bool((difference < allowed).all()):
        worst = int((difference / allowed).argmax())
        raise LikelihoodError(
            f"the folded ln L, {folded[worst]:.3f}, differs from the unfolded one by {difference[worst]:.1e}"
        )
    log_like.fold_difference = _relative_difference(folded, unfolded)
    return out


def _relative_difference(folded: torch.Tensor, unfolded: torch.Tensor) -> float:
    """Largest difference of ln L, relative to max(1, |ln L|); infinite if one is NaN."""
    same = (torch.isneginf(unfolded) & torch.isneginf(folded)) | (unfolded.isnan() & folded.isnan())
    difference = (folded - unfolded).abs() / unfolded.abs().clamp(min=1.0)
    return float(torch.where(same, 0.0, difference).nan_to_num(nan=torch.inf).max())


def _draws(posterior: Posterior, n: int) -> torch.Tensor:  # shape: (n, n_parameters)
    """Draw points from the prior, moved into the box."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(
        np.stack(
            [
                np.clip(posterior.priors[p].sample(rng, n), *posterior.support[p])
                for p in posterior.parameters
            ],
            1,
        )
    )


def _likeliest(posterior: Posterior, theory: PrimordialTheory, n: int) -> torch.Tensor:
    """Return n points of the expansion's cosmology: the likeliest of many draws of the model's parameters."""
    rng = np.random.default_rng(0)
    centre = dict(zip(BACKGROUND, theory.expansion.arrays.centre.tolist(), strict=True))
    centre |= {"logA": FIDUCIAL[0], NS.name: FIDUCIAL[1]}
    drawn = []
    for name in posterior.parameters:
        prior = posterior.priors[name]
        if name in posterior.nuisances:
            low, high = prior.support
            middle = prior.mean if isinstance(prior, Gaussian) else (low + high) / 2
            drawn.append(np.full(16 * n, middle))
        elif name in centre:
            drawn.append(np.full(16 * n, centre[name]))
        else:
            drawn.append(np.clip(prior.sample(rng, 16 * n), *theory.box[name]))
    theta = torch.from_numpy(np.stack(drawn, axis=1))
    with torch.no_grad():
        value = posterior.log_prob(theta)
    best = value.argsort(descending=True)[:n]
    return theta[best[torch.isfinite(value[best])]]
