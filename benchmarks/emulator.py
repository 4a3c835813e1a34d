"""Spectra per second of the emulators against CosmoPower-JAX and Capse's networks, in one process, equal threads.

Run: python benchmarks/emulator.py   (needs the optional dependencies jax and cosmopower-jax)

All give TT, TE and EE; the emulators to their own lmax with BB, lensing and derived parameters besides.
CosmoPower-JAX runs its shipped networks, jitted on their batch. Capse (Bonici et al. 2023) is written in
Julia: here its layers (five of 64 tanh units, 4999 multipoles, one network a spectrum) are jitted JAX with
random weights, for speed alone. Rounds alternate; medians are reported. Beside each speed stands what it
buys: an emulator's measured error is in its manifest, the peers' have to be taken from their papers,
since their CAMB settings cannot be matched exactly.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import time
import warnings
from collections.abc import Callable

import numpy as np

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))
os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={str(THREADS > 1).lower()}"

import jax
import torch

from cmbfit.io import write_json
from cmbfit.theory.emulator.bundle import load_emulator, read_arrays
from cmbfit.theory.emulator.manifest import bundle_folder, shipped_bundles

CENTRE = {
    "omega_b": 0.0224,
    "omega_cdm": 0.12,
    "h": 0.67,
    "tau_reio": 0.055,
    "n_s": 0.965,
    "ln10^{10}A_s": 3.045,
}


def _seconds(call: Callable[[], object], seconds: float) -> float:
    """Return the time of one call, repeated for about `seconds`."""
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        call()
        n += 1
    return (time.perf_counter() - start) / n


def _emulator_call(name: str, batch: int, rng: np.random.Generator) -> Callable[[], object]:
    emulator = load_emulator(name)
    low, high = np.array(list(emulator.box.values())).T
    theta = torch.from_numpy(rng.uniform(low, high, (batch, len(low))))

    def call() -> object:
        with torch.no_grad():
            return emulator.spectra(theta).dl["tt"]

    return call


def _facts(name: str) -> dict[str, object]:
    manifest, _ = read_arrays(bundle_folder(name))
    return {"lmax": manifest["lmax"], "sigma_cv": manifest["accuracy"]["overall"]}


def _cosmopower_call(batch: int, rng: np.random.Generator, dtype: str) -> Callable[[], object]:
    jax.config.update("jax_enable_x64", dtype == "float64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cosmopower_jax.cosmopower_jax import CosmoPowerJAX  # noqa: PLC0415 (warns on import)

        models = [CosmoPowerJAX(probe=f"cmb_{p}", verbose=False) for p in ("tt", "te", "ee")]
    point = np.array(list(CENTRE.values())) * rng.uniform(0.99, 1.01, (batch, 6))
    predict = jax.jit(lambda x: [m.predict(x) for m in models])
    x = jax.numpy.asarray(point, dtype=dtype)
    jax.block_until_ready(predict(x))
    return lambda: jax.block_until_ready(predict(x))


def _capse_call(batch: int, rng: np.random.Generator, dtype: str) -> Callable[[], object]:
    jax.config.update("jax_enable_x64", dtype == "float64")
    sizes = [6, *[64] * 5, 4999]

    def array(*shape: int) -> jax.Array:
        return jax.numpy.asarray(rng.standard_normal(shape) / np.sqrt(shape[-1]), dtype=dtype)

    nets = [[(array(m, n), array(n)) for m, n in itertools.pairwise(sizes)] for _ in ("tt", "te", "ee")]

    def one(x: jax.Array, layers: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
        for weight, bias in layers[:-1]:
            x = jax.numpy.tanh(x @ weight + bias)
        return x @ layers[-1][0] + layers[-1][1]

    predict = jax.jit(lambda x: [one(x, layers) for layers in nets])
    x = array(batch, 6)
    jax.block_until_ready(predict(x))
    return lambda: jax.block_until_ready(predict(x))


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emulators", nargs="+", default=list(shipped_bundles()))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64, 1024, 8192])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--output", default="benchmarks/results/emulator.json")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(1)
    rows = []
    for batch in args.batch:
        calls = {f"cmbfit {name} float64": _emulator_call(name, batch, rng) for name in args.emulators}
        for dtype in ("float32", "float64"):
            calls[f"CosmoPower-JAX {dtype}"] = _cosmopower_call(batch, rng, dtype)
            calls[f"Capse's layers {dtype}"] = _capse_call(batch, rng, dtype)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(args.rounds):
            for name, call in calls.items():
                jax.config.update("jax_enable_x64", name.endswith("float64"))
                times[name].append(_seconds(call, args.seconds))
        row = {name: batch / float(np.median(t)) for name, t in times.items()}
        rows.append({"batch": batch, "spectra_per_second": row})
        print(json.dumps(rows[-1]), flush=True)
    record = {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "threads": THREADS,
            "load": os.getloadavg(),
        },
        "versions": {"torch": torch.__version__, "jax": jax.__version__},
        "emulators": {name: _facts(name) for name in args.emulators},
        "rows": rows,
    }
    write_json(args.output, record)


if __name__ == "__main__":
    main()
