"""A fit in numbers: means, widths and quantiles, against published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from cmbfit.inference.chain import Chain
from cmbfit.inference.diagnostics import burn_in, effective_samples, gelman_rubin
from cmbfit.inference.evidence import join_runs
from cmbfit.inference.maximum import BestFit
from cmbfit.inference.products import Samples


def summarise(
    samples: Samples,
    chains: Sequence[Chain],
    best: BestFit,
    reference: Mapping[str, tuple[float, float | None]],
) -> dict[str, Any]:
    """Return a fit's summary, JSON-able.

    Parameters
    ----------
    samples : Samples
    chains : sequence of Chain
        The independent ensembles.
    best : BestFit
    reference : mapping of str to (mean, sigma)
        Published marginal posteriors of the same parameters; or the truth of a simulation, without
        a sigma: the pull is then in units of the fit's own width.

    Returns
    -------
    dict
        ``correlations`` (``names`` and ``matrix``), ``parameters`` (mean, std, q16, q50, q84, and where published: reference, reference_std,
        pull = (mean - reference) / reference_std, width_ratio), ``chi2``, ``best_fit``,
        ``convergence`` (``r_minus_1_max`` null for one ensemble), and ``evidence``, null unless the sampler measures it.
    """
    parameters: dict[str, Any] = {}
    for i, name in enumerate(samples.names):
        x = samples.joined[:, i]
        q16, q50, q84 = np.percentile(x, [16, 50, 84])
        entry = {"mean": x.mean(), "std": x.std(ddof=1), "q16": q16, "q50": q50, "q84": q84}
        entry |= {"reference": None, "reference_std": None, "pull": None, "width_ratio": None}
        if name in reference:
            mean, sigma = reference[name]
            entry |= {"reference": mean, "pull": (entry["mean"] - mean) / (sigma or entry["std"])}
            if sigma:
                entry |= {"reference_std": sigma, "width_ratio": entry["std"] / sigma}
        parameters[name] = {k: None if v is None else float(v) for k, v in entry.items()}
    spread = [name for name in samples.names if parameters[name]["std"] > 0]
    columns = samples.joined[:, [samples.names.index(name) for name in spread]]
    correlations = np.atleast_2d(np.corrcoef(columns, rowvar=False))
    return {
        "parameters": parameters,
        "correlations": {"names": spread, "matrix": correlations.tolist()},
        "chi2": {**best.chi2, "total": sum(best.chi2.values())},
        "best_fit": {"point": best.point, "log_posterior": best.log_prob, "evaluations": best.evaluations},
        "convergence": {
            "sampler": chains[0].kind,
            "ensembles": len(chains),
            "walkers": chains[0].samples.shape[1],
            "steps": [c.steps for c in chains],
            "burn_in": [burn_in(c) for c in chains],
            "tau_max": [float(c.tau.max()) for c in chains],
            "steps_over_tau": [float(c.steps / c.tau.max()) for c in chains],
            "acceptance": [c.acceptance for c in chains],
            "effective_samples_min": float(sum(effective_samples(c) for c in chains).min()),  # type: ignore[union-attr]
            "r_minus_1_max": float(gelman_rubin(chains).max()) if len(chains) > 1 else None,
            "seconds": [c.seconds for c in chains],
            "evaluations": [c.evaluations for c in chains],
            "zero_probability": [c.counts for c in chains],
            "kept_samples": len(samples.joined),
        },
        "evidence": _evidence(samples),
    }


def _evidence(samples: Samples) -> dict[str, Any] | None:
    if not samples.log_z:
        return None
    runs = [{"log_z": z, "log_z_error": e} for z, e in samples.log_z]
    return {**asdict(join_runs(samples.log_z)), "runs": runs}
