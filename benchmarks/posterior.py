"""Posterior evaluations per second, theta -> ln L of plik-lite, against CosmoPower-JAX, in one process.

The peer is CosmoPower-JAX's shipped cmb_tt, cmb_te and cmb_ee networks with the same plik-lite
likelihood in jitted JAX, float64, one batched function. Rounds of the two are interleaved, so that a
machine whose speed drifts is fair to both; the medians' ratio is what to quote. Honest limits: the
peer returns full spectra over a wider prior; cmbfit's compiled posterior returns ln L alone.

Run: make bench   (needs the optional dependencies jax and cosmopower-jax)
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import torch
from cosmopower_jax.cosmopower_jax import CosmoPowerJAX

from cmbfit.likelihood import Posterior, Uniform, load_likelihood
from cmbfit.likelihood.compiled import CompiledPosterior
from cmbfit.theory.emulator.bundle import load_emulator

NAMES = ("tt", "te", "ee")
CENTRE = {"ombh2": 0.02237, "omch2": 0.1201, "theta_mc": 1.0409, "tau": 0.054, "logA": 3.044, "ns": 0.965}
WIDTH = {"ombh2": 1.5e-4, "omch2": 1.4e-3, "theta_mc": 3e-4, "tau": 0.007, "logA": 0.016, "ns": 0.0044}


def peer_log_like() -> Callable[[jax.Array], jax.Array]:
    """Return a jitted function (batch, 7) -> ln L of the peer's spectra on the same plik-lite files.

    Columns: omega_b, omega_c, h, tau, n_s, ln10As, A_planck (the peer's own order).
    """
    like = load_likelihood("planck2018_plik_lite_ttteee")
    ell = np.arange(2, 2509)
    to_dl = jnp.asarray(ell * (ell + 1) / (2 * np.pi) * 2.7255e6**2)
    windows = {p: jnp.asarray(w.numpy()[:, 2:]) for p, w in like.windows.items()}
    data = jnp.asarray(like.data.numpy())
    cholesky = jnp.asarray(like._cholesky.numpy())
    emulators = {p: CosmoPowerJAX(probe=f"cmb_{p}", verbose=False) for p in NAMES}

    def log_like(theta: jax.Array) -> jax.Array:
        parts = []
        for p in NAMES:
            dl = emulators[p].predict(theta[:, :6])[:, : len(ell)] * to_dl
            parts.append(dl @ windows[p].T)
        residual = jnp.concatenate(parts, axis=1) / theta[:, 6:] ** 2 - data
        white = jax.scipy.linalg.solve_triangular(cholesky, residual.T, lower=True)
        return -0.5 * (white**2).sum(0)

    return jax.jit(log_like)


def rate(call: Callable[[], object], n: int, seconds: float) -> float:
    """Return evaluations per second of `call`, which makes `n` of them, over at least `seconds`."""
    call()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or done < 3:
        call()
        done += 1
    return done * n / elapsed


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 1024, 4096])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--output", default="benchmarks/results/posterior.json")
    args = parser.parse_args()
    emulator = load_emulator("lcdm_planck2018")
    posterior = CompiledPosterior(
        Posterior(
            emulator,
            [load_likelihood("planck2018_plik_lite_ttteee")],
            {p: Uniform(*emulator.box[p]) for p in emulator.parameters},
        )
    )
    peer = peer_log_like()
    rng = np.random.default_rng(1)
    rows = []
    for n in args.batch:
        ours = np.column_stack(
            [CENTRE[p] + WIDTH[p] * rng.standard_normal(n) for p in emulator.parameters] + [np.ones(n)]
        )
        theta = torch.from_numpy(ours)
        h = emulator.derived(theta[:, :6])["H0"].numpy() / 100
        columns = [ours[:, emulator.parameters.index(p)] for p in ("ombh2", "omch2", "tau", "ns", "logA")]
        theirs = jnp.asarray(np.column_stack([*columns[:2], h, *columns[2:], ours[:, -1]]))

        def run_ours(theta: torch.Tensor = theta) -> torch.Tensor:
            with torch.no_grad():
                return posterior.log_prob(theta)

        def run_theirs(theirs: jax.Array = theirs) -> jax.Array:
            return peer(theirs).block_until_ready()

        # sanity: the two agree on ln L up to the peer's other settings (massless neutrinos, older CAMB)
        difference = float(
            np.median(
                np.abs(run_ours().numpy() - posterior.log_prior(theta).numpy() - np.asarray(run_theirs()))
            )
        )
        a, b = [], []
        for _ in range(args.rounds):
            a.append(rate(run_ours, n, args.seconds))
            b.append(rate(run_theirs, n, args.seconds))
        ratios = [x / y for x, y in zip(a, b, strict=True)]
        row = {
            "batch": n,
            "cmbfit_per_s": statistics.median(a),
            "cosmopower_jax_per_s": statistics.median(b),
            "ratio_median": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
            "median_abs_difference_of_ln_like": difference,
        }
        rows.append(row)
        print(json.dumps(row))
    record = {
        "what": "theta -> ln L of plik-lite TTTEEE (613 bandpowers), float64",
        "rows": rows,
        "fold_difference": posterior.fold_difference,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "torch_threads": torch.get_num_threads(),
        },
        "versions": {p: metadata.version(p) for p in ("torch", "jax", "cosmopower_jax", "numpy")},
    }
    path = Path(args.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
