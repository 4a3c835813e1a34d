"""Join a fit's independent chains into its products: samples, GetDist and ArviZ files, summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmbfit.fit.build import start_point
from cmbfit.fit.description import Fit
from cmbfit.inference.chain import Chain
from cmbfit.inference.diagnostics import kept_samples
from cmbfit.inference.exports import publish_getdist, write_arviz
from cmbfit.inference.maximum import maximum_of_chain
from cmbfit.inference.products import Samples, collect_samples, write_samples
from cmbfit.inference.summary import summarise
from cmbfit.io import write_json
from cmbfit.likelihood.posterior import Posterior
from cmbfit.theory.parameters import REPORTED


def samples_with_derived(posterior: Posterior, chains: Sequence[Chain]) -> Samples:
    """Return the chains after burn-in with the theory's derived parameters of the same rows."""
    n = len(posterior.theory.parameters)
    rows = [kept_samples(chain)[0] for chain in chains]
    derived = [derived_columns(posterior, x[:, :n]) for x in rows]
    log_prior = [_log_prior(posterior, x) for x in rows]
    return collect_samples(chains, derived, ranges_of(posterior), log_prior, priors_of(posterior))


def _log_prior(posterior: Posterior, theta: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return posterior.log_prior(torch.from_numpy(theta).to(posterior.device)).cpu().numpy()


def priors_of(posterior: Posterior) -> dict[str, dict[str, Any]]:
    """Return the configuration of each parameter's prior; of a joint normal one its marginals."""
    marginals = {
        name: {"gaussian": [joint.mean[i], math.sqrt(joint.covariance[i][i])]}
        for joint in posterior.joint_priors
        for i, name in enumerate(joint.names)
    }
    return marginals | {name: prior.describe() for name, prior in posterior.priors.items()}


def derived_columns(
    posterior: Posterior,
    theta: np.ndarray,  # shape: (n, theory parameters)
) -> dict[str, np.ndarray]:
    """Return derived parameters of points, for theories that give them without spectra."""
    if not hasattr(posterior.theory, "derived"):
        return {}
    with torch.no_grad():
        table = posterior.theory.derived(torch.from_numpy(theta).to(posterior.device))
    names = (name for name in REPORTED if name in table and name not in posterior.theory.parameters)
    return {name: table[name].cpu().numpy() for name in names}


def ranges_of(posterior: Posterior) -> dict[str, tuple[float | None, float | None]]:
    """Return where each parameter may lie, None for infinity, as GetDist's files want it."""
    return {
        p: (low if math.isfinite(low) else None, high if math.isfinite(high) else None)
        for p, (low, high) in posterior.support.items()
    }


def describe(fit: Fit, posterior: Posterior) -> dict[str, Any]:
    """Return what a summary says of a fit apart from its numbers."""
    return {
        "title": fit.title,
        "show": list(fit.show),
        "nuisance": [n for like in posterior.likelihoods for n in like.info.nuisance],
        "reference_label": fit.reference.label if fit.reference else None,
        "primordial": [_model(fit.theory[key]) for key in ("primordial", "tensors") if fit.theory.get(key)],
        "reference_correlations": (
            fit.reference.correlations.source if fit.reference and fit.reference.correlations else None
        ),
        "reference_source": fit.reference.source if fit.reference else None,
        "data": [vars_of(like.info) for like in posterior.likelihoods],
        "priors": {p: prior.describe() for p, prior in posterior.priors.items()},
        "fold_difference": posterior.fold_difference,
        "not_folded": posterior.not_folded,
    }


def _model(name: str) -> dict[str, Any]:
    """Return what a page says of a primordial model, also of one that no table of cmbfit's knows."""
    from cmbfit.theory.primordial import get_model  # noqa: PLC0415 (only fits that have one)

    model = get_model(name)
    return {
        "title": model.title,
        "formula": model.formula,
        "citations": list(model.citations),
        "note": model.note,
    }


def vars_of(info: object) -> dict[str, object]:
    """Return a data set's description without its priors."""
    return {k: v for k, v in vars(info).items() if k not in ("nuisance", "joint_priors")}


def publish_fit(
    posterior: Posterior,
    fit: Fit,
    chains: Sequence[Chain],
    *,
    samples: str | Path,
    getdist_root: str | Path,
    arviz: str | Path,
    summary: str | Path,
) -> dict[str, Any]:
    """Write a fit's products and return its summary.

    Parameters
    ----------
    posterior : Posterior
    fit : Fit
    chains : sequence of Chain
        Independent ensembles.
    samples, getdist_root, arviz, summary : path
        HDF5, root of the GetDist files, ArviZ netCDF and JSON.
    """
    table = samples_with_derived(posterior, chains)
    write_samples(samples, table)
    publish_getdist(getdist_root, table)
    write_arviz(arviz, table)
    _, scale = start_point(fit, posterior)
    best = maximum_of_chain(
        posterior, scale, table.joined[:, : table.n_sampled], np.concatenate(table.log_prob)
    )
    reference = fit.reference.parameters if fit.reference else {}
    point = np.array([[best.point[p] for p in posterior.theory.parameters]])
    derived = {name: float(column[0]) for name, column in derived_columns(posterior, point).items()}
    out = summarise(table, chains, best, reference) | describe(fit, posterior)
    out["best_fit"]["derived"] = derived
    write_json(summary, out)
    return out
