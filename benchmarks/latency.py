"""ln P of a few points, and its gradient: numpy's path against torch's, the same folded posterior, interleaved in one process.

Processor time of one thread, the least of several rounds: minimisers, Metropolis chains and Cobaya ask for one point at a time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from cmbfit.fit import build_posterior, load_run
from cmbfit.likelihood import few_points as module

CENTRE = [0.02237, 0.1201, 1.0409, 0.054, 3.044, 0.965, 1.0]
WIDTH = [1.5e-4, 1.4e-3, 3e-4, 8e-3, 1.6e-2, 4.4e-3, 2.5e-3]


def least(ways: dict[str, Callable[[], object]], seconds: float, rounds: int) -> dict[str, float]:
    """Return the least processor seconds of a call over interleaved rounds."""
    out = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, call in ways.items():
            call()
            n, begun = 0, time.process_time()
            while (spent := time.process_time() - begun) < seconds / rounds:
                call()
                n += 1
            out[name] = min(out[name], spent / n)
    return out


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each number")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    posterior = build_posterior(load_run().fits["lcdm_planck2018"])
    draw = np.random.default_rng(0).standard_normal((1024, 7)) * WIDTH + CENTRE

    def at(most: int, what: Callable[[torch.Tensor], object], theta: torch.Tensor) -> Callable[[], object]:
        def call() -> object:
            module.MOST = most
            return what(theta)

        return call

    few = module.MOST
    print(
        f"{'batch':>6} {'ln P: torch':>12} {'numpy':>9} {'ratio':>6}  {'gradient: torch':>16} {'numpy':>9} {'ratio':>6}   us"
    )
    for batch in (1, 8, 32, 64, 128, 256, 512, 1024):
        theta = torch.from_numpy(draw[:batch])
        ways = {
            f"{name} {most}": at(most, what, theta)
            for name, what in (("value", posterior.log_prob), ("gradient", posterior.log_prob_and_gradient))
            for most in (0, 10_000)
        }
        t = {name: 1e6 * x for name, x in least(ways, arguments.seconds, arguments.rounds).items()}
        value, gradient = t["value 0"] / t["value 10000"], t["gradient 0"] / t["gradient 10000"]
        print(
            f"{batch:6d} {t['value 0']:12.0f} {t['value 10000']:9.0f} {value:6.1f}  {t['gradient 0']:16.0f} "
            f"{t['gradient 10000']:9.0f} {gradient:6.1f}   {'numpy is taken' if batch <= few else 'torch is taken'}",
            flush=True,
        )
    module.MOST = few


if __name__ == "__main__":
    main()
