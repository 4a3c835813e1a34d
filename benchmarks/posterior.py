"""Posterior evaluations per second against CosmoPower-JAX, in one process; see benchmarks.likelihood.

Run: make bench   (needs the optional dependencies jax, cosmopower-jax and clipy-like)
"""

from __future__ import annotations

import argparse
import json

from benchmarks.likelihood import benchmark_likelihood
from cmbfit.io import write_json


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64, 1024, 8192])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument(
        "--joint", type=int, default=1024, help="batch of the joint posteriors; 0 leaves them out"
    )
    parser.add_argument("--output", default="benchmarks/results/posterior.json")
    args = parser.parse_args()
    record = benchmark_likelihood(
        args.batch,
        threads=None,
        device="cpu",
        rounds=args.rounds,
        seconds=args.seconds,
        joint_batch=args.joint or None,
    )
    write_json(args.output, record)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
