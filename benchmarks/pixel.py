"""Pixel likelihood: evaluations per second by batch and by number of modes, against scipy on the dense covariance.

The peer is what one would write without this package: the dense pixel covariance as a product of
harmonics, and scipy.stats.multivariate_normal.logpdf. Each row reports the difference in ln L too. Honest
limits: the peer computes one model at a time and builds its covariance with the same Y.

Run: python benchmarks/pixel.py
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

import numpy as np
import torch
from scipy.stats import multivariate_normal

from cmbfit.device import pick_device
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.pixel import CompressedPixelLikelihood, pixel_likelihood, white_noise
from cmbfit.likelihood.pixel.bandpowers import LowlBandpowers
from cmbfit.likelihood.pixel.build import data_vector, pixel_set, signal_covariance
from cmbfit.likelihood.pixel.wmap7 import fiducial_spectra, lowl_sky, read_wmap7
from cmbfit.sky import StokesMap, galactic_cut
from cmbfit.theory.spectra import Spectra


def rate(call: Callable[[], object], n: int, seconds: float) -> float:
    """Return the median of evaluations per second of `call`, which makes `n` of them.

    Seconds of the process on a CPU (a busy machine does not change them), of the clock on a GPU.
    """
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    call()
    rates, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(rates) < 3:
        begin = clock()
        call()
        rates.append(n / max(clock() - begin, 1e-9))
    return statistics.median(rates)


def models(n: int, lmax: int, pairs: tuple[str, ...], device: torch.device) -> Spectra:
    """Return LCDM with BB of lensing's size, in n amplitudes."""
    fiducial = fiducial_spectra()
    dl = {p: fiducial.dl[p][:, : lmax + 1] for p in pairs if p in fiducial.dl}
    if "bb" in pairs:
        dl["bb"] = 0.05 * dl["ee"]
    scale = torch.linspace(0.9, 1.1, n, dtype=torch.float64)[:, None]
    return Spectra({p: (scale * x).to(device) for p, x in dl.items()})


def measure(
    name: str, like: object, pairs: tuple[str, ...], args: argparse.Namespace
) -> list[dict[str, object]]:
    """Return one row a batch: values, and values with gradients."""
    device = pick_device(args.device)
    like = like.to(device)  # type: ignore[attr-defined]
    rows = []
    for n in args.batch:
        batch = models(n, like.lmax, pairs, device)  # type: ignore[attr-defined]

        def value(batch: Spectra = batch) -> object:
            with torch.no_grad():
                return like.log_prob(batch, {}).sum().item()  # type: ignore[attr-defined]

        def gradient(batch: Spectra = batch) -> object:
            leaves = {p: x.clone().requires_grad_(True) for p, x in batch.dl.items()}
            like.log_prob(Spectra(leaves), {}).sum().backward()  # type: ignore[attr-defined]
            return leaves["tt" if "tt" in leaves else "ee"].grad.sum().item()  # type: ignore[union-attr]

        row = {
            "case": name,
            "device": str(device),
            "batch": n,
            "per_s": rate(value, n, args.seconds),
            "with_gradient_per_s": rate(gradient, n, args.seconds),
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def simulated(nside: int, args: argparse.Namespace) -> list[dict[str, object]]:
    """T, Q, U with l = 2 to 2 nside under a 20-degree cut."""
    lmax, rng = 2 * nside, np.random.default_rng(nside)
    mask = galactic_cut(nside, 20.0)
    pairs = ("tt", "te", "ee", "bb")
    pixels = pixel_set(mask, mask)
    noise = white_noise(0.5, np.ones(len(pixels)))
    stokes = StokesMap(*(30 * rng.standard_normal((3, 12 * nside**2))), coord="G")
    info = DataSetInfo(f"nside {nside}", "", {}, 0, "")
    like = pixel_likelihood(
        info, stokes, mask, mask, noise, ranges=dict.fromkeys(pairs, (2, lmax)), marginalise_dipole=False
    )
    one = models(1, lmax, pairs, torch.device("cpu"))
    dl = {p: x[0].numpy() for p, x in one.dl.items()}
    data = data_vector(stokes, pixels)
    peer: list[float] = []

    def dense() -> object:
        peer.append(
            float(
                multivariate_normal.logpdf(data, cov=signal_covariance(pixels, dl, 2, lmax) + noise.dense())
            )
        )
        return peer

    rows = measure(
        f"T, Q, U nside {nside}: {len(pixels)} pixels, {like.summary.n_modes} modes", like, pairs, args
    )
    dense_rate = rate(dense, 1, args.seconds)
    difference = float(like.log_prob(one, {})) - peer[0]
    for row in rows:
        row |= {"scipy_dense_per_s": dense_rate, "ln_like_minus_scipy": difference}
    return rows


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 128])
    parser.add_argument("--nside", type=int, nargs="*", default=[4, 8])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--output", default="benchmarks/results/pixel.json")
    args = parser.parse_args()
    rows = [row for nside in args.nside for row in simulated(nside, args)]
    begin = time.perf_counter()
    fiducial = fiducial_spectra()
    info = DataSetInfo("wmap7", "", {}, 0, "")
    exact = lowl_sky(*read_wmap7()).likelihood(info, fiducial)
    setup = time.perf_counter() - begin
    rows += measure(f"WMAP7 T nside 16: {exact.summary.n_modes} modes", exact, ("tt",), args)
    compressed = CompressedPixelLikelihood(exact, fiducial, threshold=0.01)
    rows += measure(
        f"WMAP7 T, {compressed.n_modes} modes above S/N 0.01, ln L within {compressed.dropped:.2f}",
        compressed, ("tt",), args,
    )  # fmt: skip
    rows += measure("WMAP7 T, bandpower form", LowlBandpowers(info, exact, fiducial), ("tt",), args)
    record = {
        "what": "ln L of low-l maps, float64, per second of CPU time (of the clock on a GPU)",
        "rows": rows,
        "wmap7_setup_s": setup,
        "bytes_per_model": "32 n_modes^2, in chunks of at most 16 MiB on a CPU, at least one model",
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "torch_threads": torch.get_num_threads(),
        },
        "versions": {p: metadata.version(p) for p in ("torch", "scipy", "numpy")},
    }
    path = Path(args.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
