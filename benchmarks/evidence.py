"""The evidence of the default Planck fit from its prior, and of two modes: tempering against nautilus, in one process.

Processor time of one thread. Error is held against error: `--effective` gives nautilus the effective points, and so the error, that
tempering states; what differs from that is scaled by the squares.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from cmbfit.fit import build_posterior, load_run
from cmbfit.inference.nested import NestedSettings, run_nested
from cmbfit.inference.tempered import TemperedSettings, run_tempered

RUNS = 5


def timed(compute: Callable[[], tuple[float, float]]) -> tuple[float, float, float]:
    """Return ln Z, its error and processor seconds."""
    begun = time.process_time()
    log_z, error = compute()
    return log_z, error, time.process_time() - begun


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", type=int, default=500)
    parser.add_argument(
        "--effective", type=float, default=86_500, help="of nautilus: the error is its inverse root"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    posterior = build_posterior(load_run().fits["lcdm_planck2018"])

    def tempered(seed: int) -> tuple[float, float]:
        got = run_tempered(posterior, TemperedSettings(), seed)
        return got.log_z, got.log_z_error

    def nested() -> tuple[float, float]:
        settings = NestedSettings(
            n_live=arguments.live, n_effective=arguments.effective, batch=256, networks=0
        )
        got = run_nested(posterior, settings, 1)
        return float(got.log_z or 0), float(got.log_z_error or 0)

    ours = [timed(lambda seed=seed: tempered(seed)) for seed in range(RUNS)]  # type: ignore[misc]
    theirs = timed(nested)
    ours += [timed(lambda seed=seed: tempered(seed)) for seed in range(RUNS, 2 * RUNS)]  # type: ignore[misc]
    log_z, error, seconds = np.array(ours).T
    print(
        f"tempered: ln Z {log_z.mean():.4f}, scatter of {2 * RUNS} runs {log_z.std(ddof=1):.4f}, stated {error.mean():.4f}, "
        f"{np.median(seconds):.2f} s a run ({seconds.min():.2f}-{seconds.max():.2f})"
    )
    print(f"nautilus: ln Z {theirs[0]:.4f} +- {theirs[1]:.4f}, {theirs[2]:.1f} s")
    equal = theirs[2] * (theirs[1] / error.mean()) ** 2
    print(f"ratio {theirs[2] / np.median(seconds):.1f}; at equal error {equal / np.median(seconds):.1f}")


if __name__ == "__main__":
    main()
