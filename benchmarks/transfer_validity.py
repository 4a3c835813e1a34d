"""Error of the expanded transfer operator in a feature's imprint, against CAMB over a Planck posterior.

Points are uniform in +-3 sigma along every principal axis of the default run's posterior (so single
parameters move by up to 4.7 sigma). At each, CAMB's transfer functions give the unlensed imprint
(spectrum with minus spectrum without the feature) at CAMB's multipoles. Errors and imprints are
weighted by cosmic variance and summed over l = 2-2500. Twelve CPU-seconds a point; each is kept in
--cache and not computed again.

Run: python benchmarks/transfer_validity.py --expansion FOLDER --cache FOLDER
(FOLDER of the expansion: results/RUN/theory/transfer of a run, or write_transfer(folder, ExpansionPlan().compute()))
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import camb
import numpy as np
import torch
from scipy.stats import qmc

from cmbfit.io import atomic_path, write_json
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.parameters import BACKGROUND
from cmbfit.theory.primordial import get_model
from cmbfit.theory.transfer.camb_matrices import TransferSettings, camb_transfer
from cmbfit.theory.transfer.expansion import TransferExpansion
from cmbfit.theory.transfer.operator import TransferOperator, full_matrices
from cmbfit.theory.transfer.store import read_transfer

PAIRS = ("tt", "te", "ee")
LMAX = 2500
# mean, sigma and correlations of the default run's chain: ombh2, omch2, theta_mc, tau, logA, ns
MEAN = np.array([0.0223666, 0.1201254, 1.0408749, 0.0541025, 3.0442201, 0.9651875])
SIGMA = np.array([1.47643e-4, 1.35380e-3, 3.09981e-4, 7.64893e-3, 1.56100e-2, 4.28833e-3])
CORRELATION = np.array(
    [
        [1.0, -0.572, 0.384, 0.218, 0.142, 0.45],
        [-0.572, 1.0, -0.368, -0.251, -0.051, -0.733],
        [0.384, -0.368, 1.0, 0.125, 0.068, 0.354],
        [0.218, -0.251, 0.125, 1.0, 0.924, 0.27],
        [0.142, -0.051, 0.068, 0.924, 1.0, 0.102],
        [0.45, -0.733, 0.354, 0.27, 0.102, 1.0],
    ]
)
FEATURES: dict[str, tuple[str, dict[str, float]]] = {
    "log w=10": ("oscillation_log", {"log10_omega": 1.0}),
    "log w=30": ("oscillation_log", {"log10_omega": float(np.log10(30))}),
    "log w=100": ("oscillation_log", {"log10_omega": 2.0}),
    "linear w=10": ("oscillation_linear", {"log10_omega": 1.0}),
    "linear w=30": ("oscillation_linear", {"log10_omega": float(np.log10(30))}),
    "linear w=100": ("oscillation_linear", {"log10_omega": 2.0}),
    "cut-off 5e-4": ("cutoff_exponential", {"ln_kc": float(np.log(5e-4))}),
    "cut-off 2e-3": ("cutoff_exponential", {"ln_kc": float(np.log(2e-3))}),
    "kinetic 5e-4": ("cutoff_kinetic", {"ln_kc": float(np.log(5e-4))}),
}


def points(n: int) -> np.ndarray:
    """Return a Sobol design over the posterior's principal axes, shape (n, 6)."""
    size = 2 ** int(np.ceil(np.log2(n)))
    unit = 6 * qmc.Sobol(6, seed=1).random(size)[:n] - 3
    values, vectors = np.linalg.eigh(CORRELATION)
    return MEAN + SIGMA * ((unit * np.sqrt(values)) @ vectors.T)


def powers(k: torch.Tensor, log_a: float, ns: float) -> torch.Tensor:
    """P(k) without and with each feature, shape (1 + n_features, n_k)."""
    rows = [get_model("power_law").power(k, torch.tensor([[log_a, ns]], dtype=torch.float64))]
    for name, values in FEATURES.values():
        model = get_model(name)
        rows.append(model.power(k, model.point({"logA": log_a, "ns": ns, **values})))
    return torch.cat(rows)


def camb_spectra(theta: np.ndarray, path: Path) -> None:
    """Publish CAMB's unlensed spectra of one point at CAMB's multipoles."""
    camb_settings = CambSettings(lmax=3000, lens_potential_accuracy=1)
    settings = TransferSettings(camb_settings, l_sampling=8, k_sampling=2)
    transfer = camb_transfer(settings, dict(zip(BACKGROUND, theta[:4].tolist(), strict=True)))
    operator = TransferOperator(transfer.q, transfer.ell, full_matrices(transfer), {})
    spectra = operator.at_ell(powers(operator.k, theta[4], theta[5]))
    with atomic_path(path) as tmp, tmp.open("wb") as f:
        np.savez_compressed(f, theta=theta, L=transfer.ell, **{p.upper(): spectra[p].numpy() for p in PAIRS})


def weighted(x: dict[str, np.ndarray], reference: dict[str, np.ndarray], ell: np.ndarray) -> np.ndarray:
    """Return sums over l of (x / sigma_CV)^2 of each pair and feature, shape (3, n_features)."""
    tt, te, ee = (reference[p] for p in PAIRS)
    variance = {"tt": tt**2, "te": (tt * ee + te**2) / 2, "ee": ee**2}
    gaps = np.gradient(ell.astype(float)) * (ell + 0.5)  # multipoles that a sampled one stands for
    return np.array([(x[p] ** 2 * gaps / variance[p]).sum(1) for p in PAIRS])


def errors(expansion: TransferExpansion, path: Path) -> np.ndarray:
    """Relative error of the imprint in tt, te, ee and all three together, shape (4, n_features)."""
    with np.load(path) as data:
        theta, keep = data["theta"], data["L"] <= LMAX
        ell = data["L"][keep].astype(int)
        table = {p: data[p.upper()][:, keep] for p in PAIRS}
    power = powers(expansion.k, theta[4], theta[5])
    imprint = power[1:] - power[:1]
    background = torch.from_numpy(theta[:4])[None].repeat(len(imprint), 1)
    got = expansion.unlensed(background, imprint)
    true = {p: table[p][1:] - table[p][:1] for p in PAIRS}
    reference = {p: table[p][0] for p in PAIRS}
    wrong = {p: got[p].numpy()[:, ell] - true[p] for p in PAIRS}
    top, bottom = (weighted(x, reference, ell) for x in (wrong, true))
    return np.sqrt(np.vstack([top / bottom, top.sum(0) / bottom.sum(0)]))


def main() -> None:
    """Compute what the cache lacks, compare, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expansion", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/transfer_validity.json"))
    args = parser.parse_args()
    expansion = read_transfer(args.expansion)
    if not isinstance(expansion, TransferExpansion):
        parser.error(f"{args.expansion} holds an operator, not an expansion")
    files = [args.cache / f"p{i:02d}.npz" for i in range(args.points)]
    for path, theta in zip(files, points(args.points), strict=True):
        if not path.is_file():
            camb_spectra(theta, path)
            print(f"{path} done", flush=True)
    table = np.array([errors(expansion, path) for path in files])  # shape: (point, pair, feature)
    result = {
        name: {
            pair: {"median": float(np.median(table[:, j, i])), "max": float(table[:, j, i].max())}
            for j, pair in enumerate((*PAIRS, "joint"))
        }
        for i, name in enumerate(FEATURES)
    }
    for name, row in result.items():
        words = (f"{pair} {x['median']:.4f} / {x['max']:.4f}" for pair, x in row.items())
        print(f"{name:13s}", "  ".join(words))
    machine = {"machine": platform.machine(), "python": platform.python_version(), "camb": camb.__version__}
    write_json(args.output, {"points": len(files), "errors": result, "machine": machine})


if __name__ == "__main__":
    main()
