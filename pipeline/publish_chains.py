"""Join a fit's ensembles: samples with derived parameters, GetDist and ArviZ files, summary, checks."""

from __future__ import annotations

import argparse
import json
import math

import torch

from cmbfit.inference.diagnostics import gelman_rubin, kept_samples
from cmbfit.inference.maximum import find_maximum
from cmbfit.inference.products import collect_samples, read_chain, write_arviz, write_getdist, write_samples
from cmbfit.inference.summary import summarise
from cmbfit.io import publish_record, write_json
from cmbfit.likelihood.build import posterior_from_config, start_from_config
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.likelihood.priors import Prior
from cmbfit.report.checks import above, below, between, write_checks
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.parameters import DERIVED
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, join, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--chains", nargs="+", required=True)
    for name in ("samples", "getdist-root", "arviz", "summary", "checks"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    emulator = load_emulator(args.emulator)
    posterior = compile_if_possible(posterior_from_config(args.fit, emulator))
    chains = [read_chain(path)[0] for path in args.chains]
    derived = []
    for chain in chains:
        theta = torch.from_numpy(kept_samples(chain)[0][:, : len(emulator.parameters)])
        table = emulator.derived(theta)
        derived.append({name: table[name].numpy() for name in DERIVED})
    ranges = {p: finite_limits(prior) for p, prior in posterior.priors.items()}
    samples = collect_samples(chains, derived, ranges)
    write_samples(args.samples, samples)
    write_getdist(args.getdist_root, samples)
    write_arviz(args.arviz, samples)
    best = find_maximum(posterior, *start_from_config(args.fit, posterior))
    reference = {name: tuple(x) for name, x in args.fit["reference"]["parameters"].items()}
    summary = summarise(samples, chains, best, reference)
    summary |= {
        "title": args.fit["title"],
        "reference_source": args.fit["reference"]["source"],
        "data": [vars_of(like.info) for like in posterior.likelihoods],
        "priors": {p: prior.describe() for p, prior in posterior.priors.items()},
        "fold_difference": posterior.fold_difference,
    }
    write_json(args.summary, summary)
    write_checks(args.checks, _checks(args.fit, summary, float(gelman_rubin(chains).max())))
    publish_record(args.samples, inputs=args.chains, settings=posterior.settings())


def finite_limits(prior: Prior) -> tuple[float | None, float | None]:
    """Return a prior's support with None for infinity, as GetDist's files want it."""
    low, high = prior.support
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)


def vars_of(info: object) -> dict[str, object]:
    """Return a data set's description without its priors."""
    return {k: v for k, v in vars(info).items() if k != "nuisance"}


def _checks(fit: dict, summary: dict, r_minus_1: float) -> list:
    gate, convergence = fit["gate"], summary["convergence"]
    multiple = fit["sampler"].get("tau_multiple", 50)
    checks = [
        above(
            "chain length / longest tau", min(convergence["steps_over_tau"]), multiple, "emcee's own advice"
        ),
        below(
            "R - 1 between independent ensembles", r_minus_1, gate["r_minus_1"], "walkers are not independent"
        ),
    ]
    if summary["fold_difference"] is not None:
        checks.append(
            below(
                "folded against unfolded ln L, relative", summary["fold_difference"], 1e-10, "rounding only"
            )
        )
    for name in fit["reference"]["parameters"]:
        entry = summary["parameters"][name]
        source = fit["reference"]["source"]
        checks.append(below(f"{name}: mean - reference, in sigma", entry["pull"], gate["pull"], source))
        if entry["width_ratio"] is not None:
            low, high = gate["width_ratio"]
            checks.append(
                between(f"{name}: sigma / published sigma", entry["width_ratio"], low, high, source)
            )
    return checks


if __name__ == "__main__":
    run_stage(main)
