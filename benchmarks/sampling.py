"""Where the time of a converged Planck posterior goes: emcee (its own moves and ours) and HMC.

Each runs two independent ensembles of the default fit's posterior by its stopping rule, one after the other.
`cpu` is processor time of the sampling alone: on a busy machine it is what to compare. The share of the
likelihood is measured inside the same run.

Run: python benchmarks/sampling.py
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from typing import Any
from unittest import mock

import emcee
import torch

from cmbfit.fit import Fit, build_posterior, load_run
from cmbfit.inference import ensemble
from cmbfit.inference.diagnostics import effective_samples, gelman_rubin
from cmbfit.inference.sampling import sample
from cmbfit.io import write_json
from cmbfit.likelihood.posterior import Posterior

EMCEES_OWN = {"emcees_own": lambda: [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)]}


def measure(posterior: Posterior, fit: Fit, sampler: dict[str, Any]) -> dict[str, float]:
    """Run two ensembles and return times, effective samples and R - 1 between them."""
    inside = 0.0
    original = type(posterior).log_prob

    def timed(self: Posterior, theta: torch.Tensor) -> torch.Tensor:
        nonlocal inside
        begun = time.process_time()
        out = original(self, theta)
        inside += time.process_time() - begun
        return out

    with mock.patch.object(type(posterior), "log_prob", timed), tempfile.TemporaryDirectory() as folder:
        begun, wall = time.process_time(), time.perf_counter()
        chains = [
            sample(
                posterior,
                dataclasses.replace(fit, sampler=sampler),
                [1, i],
                folder,
                f"benchmark{i}",
                progress=False,
            )[0]
            for i in range(2)
        ]
        cpu, wall = time.process_time() - begun, time.perf_counter() - wall
    n = float(sum(effective_samples(chain) for chain in chains).min())
    return {
        "steps": sum(chain.steps for chain in chains),
        "walkers": chains[0].samples.shape[1],
        "tau": float(max(chain.tau.max() for chain in chains)),
        "acceptance": sum(chain.acceptance for chain in chains) / 2,
        "evaluations": sum(chain.evaluations for chain in chains),
        "r_minus_1": float(gelman_rubin(chains).max()),
        "cpu_s": cpu,
        "wall_s": wall,
        "share_outside_log_prob": 1 - inside / cpu,
        "effective_samples": n,
        "effective_samples_per_cpu_s": n / cpu,
        "cpu_s_for_10000": 1e4 / n * cpu,
    }


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="benchmarks/results/sampling.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    fit = load_run(["default"]).fits["lcdm_planck2018"]
    posterior = build_posterior(fit)
    emcee_settings = dict(fit.sampler)
    runs = {
        "emcee": emcee_settings,
        "emcee, its own moves": {**emcee_settings, "moves": "emcees_own"},
        "hmc": {"kind": "hmc", "walkers": 128},
    }
    results = {}
    with mock.patch.dict(ensemble._MOVES, EMCEES_OWN):
        for name, sampler in runs.items():
            results[name] = measure(posterior, fit, sampler)
            print(name, json.dumps(results[name]))
    write_json(args.output, {"what": "two ensembles of the default fit, one thread", "runs": results})


if __name__ == "__main__":
    main()
