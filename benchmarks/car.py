"""Transforms of a CAR patch beside HEALPix at equal lmax: ACT's patch and its HEALPix of like lmax, both coarser by a factor.

    OMP_NUM_THREADS=1 python benchmarks/car.py [--factor 8] [--rounds 5]

A factor of 8: 1290 x 5400 pixels of 4' between declinations -63 and 23, nside 512, lmax 1062; of 1 the full 10,320 x 43,200 of 0.5',
nside 4096 and lmax 8500. The same apodised mask in both. Processor seconds of one thread, interleaved, medians; each
peak memory is that of a process of its own, above what its inputs take.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from cmbfit.sky import Mask, StokesMap
from cmbfit.sky.car import Car
from cmbfit.sky.harmonic import map2alm
from cmbfit.sky.pixelisation import Healpix, Pixelisation
from cmbfit.spectra.transforms import masked_alms


def made(kind: str, factor: int) -> tuple[StokesMap, Mask, int]:
    """Return noise on a grid, a mask that is smooth in declination, and lmax."""
    circle = 43200 // factor
    patch = Car(circle, 10320 // factor, circle, 2759 / factor, 0)
    grid: Pixelisation = patch if kind == "car" else Healpix(4096 // factor)
    z = grid.vectors()[:, 2]
    edges = np.sin(np.radians(patch.latitudes[[-1, 0]]))
    weights = np.sin(np.pi * np.clip((z - edges[0]) / (edges[1] - edges[0]), 0, 1)) ** 2
    rng = np.random.default_rng(1)
    i, q, u = (np.where(weights > 0, rng.standard_normal(grid.npix), 0.0) for _ in range(3))
    sky = StokesMap(i, q, u, "C", kind, pixelisation=grid)
    return sky, Mask(weights, "C", "patch", pixelisation=grid), 8500 // factor


def _status(key: str) -> float:
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key)]
    return int(line.split()[1]) / 2**20


def peak() -> float:
    """Return the largest resident memory since it was reset, GiB."""
    return _status("VmHWM")


def resident() -> float:
    """Return the resident memory, GiB."""
    return _status("VmRSS")


def main() -> None:
    """Print seconds of one IQU map and of one mask to twice lmax, and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factor", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", choices=["car", "healpix"])
    given = parser.parse_args()
    if given.memory:
        sky, mask, lmax = made(given.memory, given.factor)
        maps = 8 * sky.grid.npix / 2**30
        before = resident()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        masked_alms(sky, mask, lmax)
        print(f"{given.memory}: {peak() - before:.3f} GiB above its inputs, a map takes {maps:.3f} GiB")
        return
    inputs = {kind: made(kind, given.factor) for kind in ("car", "healpix")}
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(given.rounds):
        for kind, (sky, mask, lmax) in inputs.items():
            for what in ("IQU map", "mask"):
                start = time.process_time()
                if what == "mask":
                    map2alm(mask.weights[None], 2 * lmax, 0, 0, grid=mask.grid)
                else:
                    masked_alms(sky, mask, lmax)
                times.setdefault((what, kind), []).append(time.process_time() - start)
    for what in ("IQU map", "mask"):
        one, two = (times[what, kind] for kind in inputs)
        ratio = median(a / b for a, b in zip(one, two, strict=True))
        print(f"{what}: CAR {median(one):.2f} s, HEALPix {median(two):.2f} s, ratio {ratio:.2f}")
    for kind in inputs:
        subprocess.run(
            [sys.executable, __file__, "--memory", kind, "--factor", str(given.factor)], check=True
        )


if __name__ == "__main__":
    main()
