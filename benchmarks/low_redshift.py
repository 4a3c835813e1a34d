"""Cost of lensing, galaxies and supernovae beside the CMB: posteriors of more data in units of the CMB's own time.

``OMP_NUM_THREADS=1 python -m benchmarks.low_redshift`` builds Planck + ACT + SPT-3G lite, and the same with more data, in one process,
and evaluates them in turn, one call each a round, processor time; the median over rounds of the ratio to the first is what to quote.
It needs the files of ACT, SPT-3G and Pantheon+ (two wheels, downloaded once).
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch

from cmbfit.fit import build_posterior, complete_fit
from cmbfit.likelihood.posterior import Posterior

CMB = "planck_act_spt"
LENSING: dict[str, Any] = {
    "planck2018_lensing": {
        "rename": {"A_planck": "A_act"},
        "priors": {"A_act": {"gaussian": [1.0, 0.003]}},
    }
}
MORE: dict[str, list[Any]] = {
    "CMB": [],
    "+ lensing": [LENSING],
    "+ DESI": ["desi_dr2"],
    "+ lensing + DESI + Union3": [LENSING, "desi_dr2", "union3"],
    "+ lensing + DESI + Pantheon+": [LENSING, "desi_dr2", "pantheonplus"],
}
POINT = {"ombh2": 0.0225, "omch2": 0.119, "theta_mc": 1.0409, "tau": 0.054, "logA": 3.044, "ns": 0.968}


def posteriors() -> dict[str, Posterior]:
    """Return the folded posteriors that are measured."""
    out = {}
    for name, more in MORE.items():
        out[name] = build_posterior(complete_fit("bench", {"data": [CMB, *more]}, "lcdm_high"))
        if out[name].not_folded:
            raise SystemExit(f"{name}: not folded: {out[name].not_folded}")
    return out


def seconds(posterior: Posterior, points: torch.Tensor) -> float:
    """Return the processor time of one call."""
    start = time.process_time()
    posterior.log_prob(points)
    return time.process_time() - start


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    made = posteriors()
    print(f"{'':32s} {'batch':>6s} {'us':>10s} {'ratio':>6s}  (5-95%)")
    for batch in (1, 64, 1024):
        points = {}
        for name, posterior in made.items():
            centre = [POINT.get(p, 1.0) for p in posterior.parameters]
            points[name] = torch.tensor([centre], dtype=torch.float64).repeat(batch, 1)
        times: dict[str, list[float]] = {name: [] for name in made}
        with torch.no_grad():
            for i in range(rounds // (1 if batch < 1024 else 8) + 10):
                for name, posterior in made.items():
                    spent = seconds(posterior, points[name])
                    if i >= 10:
                        times[name].append(spent)
        for name, x in times.items():
            ratios = np.array(x) / np.array(times["CMB"])
            low, middle, high = np.percentile(ratios, [5, 50, 95])
            print(
                f"{name:32s} {batch:6d} {1e6 * statistics.median(x):10.0f} {middle:6.2f}  ({low:.2f}-{high:.2f})"
            )


if __name__ == "__main__":
    main()
