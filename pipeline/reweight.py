from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cmbfit.fit import Fit, build_likelihoods, build_theory
from cmbfit.inference.exact import read_exact
from cmbfit.inference.exports import publish_getdist
from cmbfit.inference.products import read_samples
from cmbfit.inference.reweight import (
    fit_linear_weights,
    log_likelihood_ratio,
    normalised_weights,
    summarise_reweighting,
)
from cmbfit.inference.sequential import edge_mark, first_points
from cmbfit.io import publish_record, read_json, write_json
from cmbfit.report.checks import above, below, write_checks
from cmbfit.theory.emulator.accuracy import spectra_of
from cmbfit.theory.extrapolation import extrapolate_spectra


def reweight(
    *,
    exact: list[Path],
    samples: Path,
    fit: Path,
    marks: Path,
    seed: list[int],
    record: Path,
    getdist_root: Path,
    output: Path,
    decision: Path | None = None,
) -> None:
    """Re-weight a fit with exact theory: effective sample size, shifts, re-weighted chains, checks.

    Parameters
    ----------
    exact
        All parts of compute_exact, in order, and extend_exact's where there is a decision.
    samples
        The fit's chain (publish_chains).
    fit
        JSON: the fit, complete.
    marks
        JSON: theory.emulator.check of the configuration.
    seed
        Of the random numbers.
    record
        Where the record goes (JSON).
    getdist_root
        Where GetDist's files go: their common stem.
    output
        The checks.
    decision
        Of extend_exact, where the points are as many as decide.
    """
    described, limits = Fit.read(fit), read_json(marks)
    chain, likelihoods = read_samples(samples), build_likelihoods(described)
    guessed = build_theory(described, lmax=max(like.lmax for like in likelihoods))
    first = first_points(limits)
    computed, rows = read_exact(exact, chain, described, guessed.parameters, limits["draws"], seed, first)
    values, theta = chain.joined[rows], computed.theta
    truth = extrapolate_spectra(spectra_of(computed), guessed.lmax)
    nuisance = {
        name: torch.from_numpy(values[:, i].copy()) for i, name in enumerate(chain.names[: chain.n_sampled])
    }
    guess = guessed.spectra(torch.from_numpy(theta))
    ratios = log_likelihood_ratio(likelihoods, truth, guess, nuisance)
    done = summarise_reweighting(chain.names, values, ratios)
    total = np.sum(list(ratios.values()), axis=0)
    sampled = chain.names[: chain.n_sampled]
    line = fit_linear_weights(sampled, values[:, : chain.n_sampled], total)
    whole = [line(block[:, : chain.n_sampled]) for block in chain.values]
    joined = normalised_weights(np.concatenate(whole)) * len(chain.joined)
    weights = np.split(joined, np.cumsum([len(w) for w in whole])[:-1])
    publish_getdist(getdist_root, chain, weights)
    publish_record(getdist_root.parent, inputs=[*exact, samples], settings=described.theory)
    done |= {
        "linear": {"residual": line.residual, "slope": dict(zip(sampled, line.slope.tolist(), strict=True))},
        "log_weights": total.tolist(),
    }
    if decision is not None:
        done["decision"] = read_json(decision)
    write_json(record, done)
    write_checks(output, _checks(done, limits))


def _checks(record: dict, marks: dict) -> list:
    n = record["n_points"]
    worst = max(record["shifts"], key=lambda name: abs(record["shifts"][name]["mean"]))
    shift = record["shifts"][worst]
    widest = max(record["shifts"], key=lambda name: abs(record["shifts"][name]["width"] - 1))
    width = record["shifts"][widest]
    checks = [
        above(
            f"exact re-weighting of {n} points: effective fraction",
            record["ess_fraction"],
            marks["ess_fraction"],
            f"std of ln w {record['log_weight']['std']:.3f}",
        ),
        below(
            "exact re-weighting: largest shift of a mean, in sigma",
            shift["mean"],
            marks["shift"],
            f"{worst}; Monte Carlo error {shift['mean_error']:.3f}",
        ),
        below(
            "exact re-weighting: largest change of a width, relative",
            width["width"] - 1,
            marks["shift"],
            f"{widest}; Monte Carlo error {width['width_error']:.3f}",
        ),
    ]
    decision = record.get("decision", {})
    if "edges" in decision:
        far = max(decision["edges"], key=abs)
        comment = (
            f"{len(decision['edges'])} points that lie farthest out: {n} random ones may miss a part of the chain below "
            f"{100 * decision['unseen_95']:.1f}% of it"
        )
        checks.append(
            below(
                "exact re-weighting: largest change of ln w at the chain's edge",
                far,
                edge_mark(marks["ess_fraction"]),
                comment,
            )
        )
    return checks
