"""SPT-3G 2018 at three frequencies: posterior evaluations per second of processor time, and a converged chain by HMC.

The covariance moves with the model, so that every point costs a factorisation. Theta has 6 cosmological and 33 nuisance
parameters. Rates are by processor time of the process: with several threads it counts all of them, so that rate times threads
is the rate by the clock of a machine with as many idle cores. `--sample` runs HMC with its defaults, by its
stopping rule.

Run: python benchmarks/multi_frequency.py [--batch 1024] [--threads 1] [--sample] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmbfit.fit import build_posterior, complete_fit
from cmbfit.fit.defaults import STARTS, default_start
from cmbfit.inference.diagnostics import effective_samples
from cmbfit.inference.sampling import sample
from cmbfit.io import write_json

DATA = ["spt3g_2018_ttteee", "tau_lowe"]


def rates(batch: int, rounds: int) -> dict[str, float]:
    """Return medians of evaluations and gradients per second of processor time."""
    posterior = build_posterior(complete_fit("spt", {"data": DATA}, "lcdm_high"))
    generator = torch.Generator().manual_seed(1)
    starts = [
        STARTS[p] if p in STARTS else default_start(p, posterior.priors[p]) for p in posterior.parameters
    ]
    centre, scale = torch.tensor(starts, dtype=torch.float64).T
    theta = centre + 0.3 * scale * torch.randn(batch, len(centre), generator=generator, dtype=torch.float64)
    found: dict[str, list[float]] = {"values": [], "gradients": []}
    for _ in range(rounds + 1):
        begun = time.process_time()
        with torch.no_grad():
            posterior.log_prob(theta)
        middle = time.process_time()
        x = theta.clone().requires_grad_(True)
        torch.autograd.grad(posterior.log_prob(x).nan_to_num(neginf=0.0).sum(), x)
        found["values"].append(batch / (middle - begun))
        found["gradients"].append(batch / (time.process_time() - middle))
    return {kind: statistics.median(x[1:]) for kind, x in found.items()}


def chain() -> dict[str, Any]:
    """Run one set of HMC chains by its stopping rule."""
    sampler = {"kind": "hmc"}
    fit = complete_fit("spt", {"data": DATA, "sampler": sampler}, "lcdm_high")
    posterior = build_posterior(fit)
    with tempfile.TemporaryDirectory() as folder:
        begun, wall = time.process_time(), time.perf_counter()
        got = sample(posterior, fit, [1, 0], folder, "benchmark", progress=True)[0]
        cpu, wall = time.process_time() - begun, time.perf_counter() - wall
    ess = np.asarray(effective_samples(got))
    return {
        "cpu_s": cpu,
        "wall_s": wall,
        "ess_min": float(ess.min()),
        "ess_median": float(np.median(ess)),
        "gradients": posterior.counts.evaluations,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    result: dict[str, Any] = {
        "threads": given.threads,
        "batch": given.batch,
        **rates(given.batch, given.rounds),
    }
    print(result, flush=True)
    if given.sample:
        result["hmc"] = chain()
    if given.output:
        write_json(given.output, result)
