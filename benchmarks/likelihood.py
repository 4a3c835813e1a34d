"""Posterior evaluations per second by batch size, beside what others need for the same data.

The peers, where they are installed: CosmoPower-JAX's shipped cmb_tt, cmb_te and cmb_ee networks with the
same plik-lite likelihood in jitted JAX, float64, one batched function; and, for a single point, clipy's jitted
plik-lite, which is given the spectra. Rounds are interleaved, so that a machine whose speed drifts is fair to
all; the median of the rounds' ratios is what to quote. Honest limits: CosmoPower-JAX returns full spectra over
a wider prior and computes plik-lite alone, clipy takes spectra; the compiled posterior returns ln L alone, of
plik-lite, low-l TT, low-l EE and the priors. `joint` are posteriors of more surveys, with the emulator that
reaches their multipoles, in units of the time of Planck's alone with it.
"""

from __future__ import annotations

import importlib.util
import io
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers import clipy_plik_lite, cosmopower_jax_log_like
from cmbfit.device import pick_device
from cmbfit.fit.build import load_data
from cmbfit.likelihood import Posterior, Uniform, load_likelihood
from cmbfit.likelihood.compiled import compile_posterior
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.extrapolation import extrapolate_to

DATA = ("planck2018_plik_lite_ttteee", "planck2018_lowl_tt_2bin", "planck2018_lowl_ee")
CENTRE = {"ombh2": 0.02237, "omch2": 0.1201, "theta_mc": 1.0409, "tau": 0.054, "logA": 3.044, "ns": 0.965}
WIDTH = {"ombh2": 1.5e-4, "omch2": 1.4e-3, "theta_mc": 3e-4, "tau": 0.007, "logA": 0.016, "ns": 0.0044}


def planck_posterior() -> Posterior:
    """Return the compiled posterior that is measured."""
    emulator = load_emulator("lcdm_planck2018")
    priors = {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    return compile_posterior(Posterior(emulator, [load_likelihood(name) for name in DATA], priors))


def joint_posteriors() -> dict[str, Posterior]:
    """Return compiled posteriors of Planck, P-ACT and Planck+ACT+SPT with one emulator."""
    out = {}
    for name in ("planck2018", "p_act", "planck_act_spt"):
        likelihoods = load_data([name])
        theory = extrapolate_to(load_emulator("lcdm_high"), max(like.lmax for like in likelihoods))
        priors = {p: Uniform(*theory.box[p]) for p in theory.parameters}
        out[name] = compile_posterior(Posterior(theory, likelihoods, priors))
    return out


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


def _peer_points(posterior: Posterior, points: np.ndarray) -> np.ndarray:
    names = posterior.theory.parameters
    h = posterior.theory.derived(torch.from_numpy(points[:, : len(names)]))["H0"].numpy() / 100  # type: ignore[attr-defined]
    column = {p: points[:, names.index(p)] for p in names}
    order = (column["ombh2"], column["omch2"], h, column["tau"], column["ns"], column["logA"], points[:, -1])
    return np.column_stack(order)


def benchmark_likelihood(
    batches: Sequence[int],
    *,
    threads: int | None,
    device: str,
    rounds: int,
    seconds: float,
    joint_batch: int | None = None,
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
    joint_batch : int, optional
        Measure posteriors of more surveys at this batch as well (their data come from the package index).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    try:
        on_cpu = planck_posterior()
        posterior = on_cpu.to(pick_device(device))
        peer = cosmopower_jax_log_like()
        with tempfile.TemporaryDirectory() as folder:
            single = _clipy_call(Path(folder) / "plik_lite") if 1 in batches else None
        rows = [
            _measure(on_cpu, posterior, peer, single if n == 1 else None, n, rounds, seconds) for n in batches
        ]
        return {
            "what": "theta -> ln (L prior) of Planck 2018 plik-lite TTTEEE + low-l TT + low-l EE, float64",
            "rows": rows,
            "peer": None if peer is None else "CosmoPower-JAX + plik-lite TTTEEE alone, jitted, float64",
            "joint": _measure_joint(joint_batch, device, rounds, seconds) if joint_batch else None,
            "fold_difference": posterior.fold_difference,
            "machine": _machine(posterior.device),
        }
    finally:
        torch.set_num_threads(before)


def _measure(
    on_cpu: Posterior,
    posterior: Posterior,
    peer: Callable[[Any], Any] | None,
    single: Callable[[], object] | None,
    n: int,
    rounds: int,
    seconds: float,
) -> dict[str, float]:
    points = posterior_points(on_cpu, n)
    theta = torch.from_numpy(points).to(posterior.device)

    def gradients() -> torch.Tensor:
        x = theta.clone().requires_grad_(True)
        return torch.autograd.grad(posterior.log_prob(x).sum(), x)[0].cpu()

    calls: dict[str, Callable[[], object]] = {
        "cmbfit": partial(_values, posterior, theta),
        "cmbfit_with_gradient": gradients,
    }
    if peer is not None:
        theirs = _peer_points(on_cpu, points)
        calls["cosmopower_jax"] = lambda: peer(theirs)
    if single is not None:
        calls["clipy"] = single
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            rates[name].append(rate(call, n, seconds))
    row: dict[str, float] = {"batch": n}
    row |= {f"{name}_per_s": statistics.median(x) for name, x in rates.items()}
    for name, prefix in (("cosmopower_jax", "ratio"), ("clipy", "clipy_ratio")):
        if name in rates:
            ratios = [a / b for a, b in zip(rates["cmbfit"], rates[name], strict=True)]
            row |= {f"{prefix}_median": statistics.median(ratios)}
            row |= {f"{prefix}_min": min(ratios), f"{prefix}_max": max(ratios)}
    return row


def _clipy_call(folder: Path) -> Callable[[], object] | None:
    """Return a call of clipy's plik-lite with spectra that lie ready on its device; None without clipy."""
    if importlib.util.find_spec("clipy") is None or importlib.util.find_spec("jax") is None:
        return None
    import jax.numpy as jnp  # noqa: PLC0415  optional

    with redirect_stdout(io.StringIO()):  # it prints a banner
        peer = clipy_plik_lite(folder)
    cl, calibration = jnp.ones((6, 2509)), {"A_planck": jnp.asarray(1.0)}
    return lambda: peer(cl, calibration).block_until_ready()


def _measure_joint(n: int, device: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Time of each joint posterior over that of Planck's alone, median of interleaved rounds."""
    calls = {}
    for name, posterior in joint_posteriors().items():
        moved = posterior.to(pick_device(device))
        theta = torch.from_numpy(posterior_points(posterior, n)).to(moved.device)
        calls[name] = partial(_values, moved, theta)
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            rates[name].append(rate(call, n, seconds))
    first, *others = rates
    costs = {
        name: statistics.median([a / b for a, b in zip(rates[first], rates[name], strict=True)])
        for name in others
    }
    return {"batch": n, "unit": first, "cost": costs}


def _values(posterior: Posterior, theta: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return posterior.log_prob(theta).cpu()


def _machine(device: torch.device) -> dict[str, Any]:
    versions = {}
    for name in ("torch", "numpy", "jax", "cosmopower_jax", "clipy-like"):
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
