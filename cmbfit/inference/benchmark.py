"""Posterior evaluations per second by batch size, beside what others need for the same data.

The peer, where it is installed, is CosmoPower-JAX's shipped cmb_tt, cmb_te and cmb_ee networks with the
same plik-lite likelihood in jitted JAX, float64, one batched function. Rounds are interleaved, so that a
machine whose speed drifts is fair to both; the median of the rounds' ratios is what to quote. Honest
limits: the peer returns full spectra over a wider prior and computes plik-lite alone; the compiled
posterior returns ln L alone, of plik-lite, low-l TT, low-l EE and the priors.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import torch

from cmbfit.likelihood import Posterior, Uniform, load_likelihood
from cmbfit.likelihood.compiled import CompiledPosterior
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.posterior import pick_device
from cmbfit.theory.emulator.bundle import load_emulator

DATA = ("planck2018_plik_lite_ttteee", "planck2018_lowl_tt_2bin", "planck2018_lowl_ee")
CENTRE = {"ombh2": 0.02237, "omch2": 0.1201, "theta_mc": 1.0409, "tau": 0.054, "logA": 3.044, "ns": 0.965}
WIDTH = {"ombh2": 1.5e-4, "omch2": 1.4e-3, "theta_mc": 3e-4, "tau": 0.007, "logA": 0.016, "ns": 0.0044}


def planck_posterior() -> CompiledPosterior:
    """Return the compiled posterior that is measured."""
    emulator = load_emulator("lcdm_planck2018")
    priors = {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    return CompiledPosterior(Posterior(emulator, [load_likelihood(name) for name in DATA], priors))


def posterior_points(posterior: Posterior, n: int, seed: int = 1) -> np.ndarray:
    """Return points scattered like Planck's posterior, calibration 1, shape (n, n_parameters)."""
    rng = np.random.default_rng(seed)
    columns = [CENTRE[p] + WIDTH[p] * rng.standard_normal(n) for p in posterior.theory.parameters]
    return np.column_stack([*columns, np.ones((n, len(posterior.nuisances)))])


def rate(call: Callable[[], object], n: int, seconds: float) -> float:
    """Return evaluations per second of `call`, which makes `n` of them, over at least `seconds`."""
    call()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or done < 3:
        call()
        done += 1
    return done * n / elapsed


def cosmopower_jax_log_like() -> Callable[[Any], Any] | None:
    """Return a jitted function (batch, 7) -> ln L on the same plik-lite files; None without the peer.

    Columns: omega_b, omega_c, h, tau, n_s, ln10As, A_planck (the peer's own order).
    """
    if any(importlib.util.find_spec(name) is None for name in ("jax", "cosmopower_jax")):
        return None
    # optional peers, seconds to import
    import jax  # noqa: PLC0415

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp  # noqa: PLC0415
    from cosmopower_jax.cosmopower_jax import CosmoPowerJAX  # noqa: PLC0415

    like = load_likelihood(DATA[0])
    assert isinstance(like, GaussianBandpowers)  # noqa: S101 (for the type checker)
    ell = np.arange(2, 2509)
    to_dl = jnp.asarray(ell * (ell + 1) / (2 * np.pi) * 2.7255e6**2)
    windows = {p: jnp.asarray(w.numpy()[:, 2 : len(ell) + 2]) for p, w in like.windows.items()}
    data = jnp.asarray(like.data.numpy())
    cholesky = jnp.asarray(like._cholesky.numpy())
    emulators = {p: CosmoPowerJAX(probe=f"cmb_{p}", verbose=False) for p in windows}

    def log_like(theta: Any) -> Any:
        parts = []
        for p, window in windows.items():
            spectrum = emulators[p].predict(theta[:, :6]).reshape(len(theta), -1)  # it drops an axis of 1
            dl = spectrum[:, : len(ell)] * to_dl
            parts.append(dl @ window.T)
        residual = jnp.concatenate(parts, axis=1) / theta[:, 6:] ** 2 - data
        white = jax.scipy.linalg.solve_triangular(cholesky, residual.T, lower=True)
        return -0.5 * (white**2).sum(0)

    jitted = jax.jit(log_like)
    return lambda theta: jitted(theta).block_until_ready()


def _peer_points(posterior: Posterior, points: np.ndarray) -> np.ndarray:
    names = posterior.theory.parameters
    h = posterior.theory.derived(torch.from_numpy(points[:, : len(names)]))["H0"].numpy() / 100  # type: ignore[attr-defined]
    column = {p: points[:, names.index(p)] for p in names}
    order = (column["ombh2"], column["omch2"], h, column["tau"], column["ns"], column["logA"], points[:, -1])
    return np.column_stack(order)


def benchmark_likelihood(
    batches: Sequence[int], *, threads: int | None, device: str, rounds: int, seconds: float
) -> dict[str, Any]:
    """Measure and return a JSON-able record.

    Parameters
    ----------
    batches : sequence of int
        Points per call.
    threads : int or None
        Torch threads; None for all cores. JAX takes all cores whatever this says: bind the process to
        as many for a fair ratio.
    device : str
        auto, cpu or cuda.
    rounds : int
        Interleaved rounds; medians are reported.
    seconds : float
        Time of each measurement.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    try:
        on_cpu = planck_posterior()
        posterior = on_cpu.to(pick_device(device))
        peer = cosmopower_jax_log_like()
        rows = [_measure(on_cpu, posterior, peer, n, rounds, seconds) for n in batches]
        return {
            "what": "theta -> ln (L prior) of Planck 2018 plik-lite TTTEEE + low-l TT + low-l EE, float64",
            "rows": rows,
            "peer": None if peer is None else "CosmoPower-JAX + plik-lite TTTEEE alone, jitted, float64",
            "fold_difference": posterior.fold_difference,
            "machine": _machine(posterior.device),
        }
    finally:
        torch.set_num_threads(before)


def _measure(
    on_cpu: Posterior,
    posterior: Posterior,
    peer: Callable[[Any], Any] | None,
    n: int,
    rounds: int,
    seconds: float,
) -> dict[str, float]:
    points = posterior_points(on_cpu, n)
    theta = torch.from_numpy(points).to(posterior.device)

    def values() -> torch.Tensor:
        with torch.no_grad():
            return posterior.log_prob(theta).cpu()

    def gradients() -> torch.Tensor:
        x = theta.clone().requires_grad_(True)
        return torch.autograd.grad(posterior.log_prob(x).sum(), x)[0].cpu()

    calls: dict[str, Callable[[], object]] = {"cmbfit": values, "cmbfit_with_gradient": gradients}
    if peer is not None:
        theirs = _peer_points(on_cpu, points)
        calls["cosmopower_jax"] = lambda: peer(theirs)
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            rates[name].append(rate(call, n, seconds))
    row: dict[str, float] = {"batch": n}
    row |= {f"{name}_per_s": statistics.median(x) for name, x in rates.items()}
    if peer is not None:
        ratios = [a / b for a, b in zip(rates["cmbfit"], rates["cosmopower_jax"], strict=True)]
        row |= {"ratio_median": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
    return row


def _machine(device: torch.device) -> dict[str, Any]:
    versions = {}
    for name in ("torch", "numpy", "jax", "cosmopower_jax"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": versions,
    }
