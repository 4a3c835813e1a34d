"""Models per second from P(k) to spectra: the transfer operator and batched lensing against CAMB, in one process.

CAMB computes one model at a time, its transfer functions kept (`power_spectra_from_transfer`, the cheapest
way it offers for another primordial spectrum) or not (what changes with every other parameter).

Run: python benchmarks/transfer.py   (--operator FOLDER reuses one from write_transfer; its settings are in the JSON)
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import camb
import numpy as np
import torch

from cmbfit.io import write_json
from cmbfit.theory.camb_code import CambSettings, camb_parameters
from cmbfit.theory.lensing import Lensing
from cmbfit.theory.transfer.camb_matrices import TransferSettings
from cmbfit.theory.transfer.nodes import NodeSettings
from cmbfit.theory.transfer.operator import TransferOperator
from cmbfit.theory.transfer.store import read_transfer

BACKGROUND = {"ombh2": 0.02237, "omch2": 0.12, "H0": 67.36, "tau": 0.0544}


def rate(call: Callable[[], object], models: int, seconds: float = 3.0) -> float:
    """Return models per second of `call`, which makes `models` of them."""
    call()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not done:
        call()
        done += 1
    return done * models / elapsed


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lmax", type=int, default=2600)
    parser.add_argument("--l-sampling", type=float, default=50)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--operator", type=Path)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/transfer.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = TransferSettings(CambSettings(lmax=args.lmax, lens_potential_accuracy=1), args.l_sampling, 2)
    operator = (
        read_transfer(args.operator)
        if args.operator
        else TransferOperator.from_camb(BACKGROUND, settings, NodeSettings())
    )
    if not isinstance(operator, TransferOperator):
        parser.error(f"{args.operator} holds an expansion, not an operator")
    power = 2.1e-9 * (operator.k / 0.05) ** -0.035
    single = operator.to("cpu", torch.float32)
    exact = operator.at_ell(power[None])["tt"]
    error = float((single.at_ell(power[None])["tt"] / exact - 1).abs().max())
    result: dict[str, dict[str, float]] = {"operator float64": {}, "operator float32": {}, "lensing": {}}
    lensing = Lensing(operator.lmax, operator.lmax - 1200) if args.l_sampling >= 50 else None
    for n in args.batch:
        batch = power * torch.linspace(0.9, 1.1, n, dtype=torch.float64)[:, None]
        result["operator float64"][str(n)] = rate(lambda b=batch: operator.at_ell(b), n)
        result["operator float32"][str(n)] = rate(lambda b=batch: single.at_ell(b), n)
        if lensing is not None:
            dl = operator.unlensed(batch)
            result["lensing"][str(n)] = rate(lambda d=dl: lensing.lensed(d), n)
    pars = camb_parameters(replace(settings.camb, lmax=operator.lmax - 200), **BACKGROUND)
    data = camb.get_transfer_functions(pars)
    k = np.geomspace(1e-6, 20, 4000)
    table = camb.initialpower.SplinedInitialPower(ks=k, PK=2.1e-9 * (k / 0.05) ** -0.035)
    table.effective_ns_for_nonlinear = 0.965
    result["camb"] = {
        "transfer functions kept": rate(lambda: data.power_spectra_from_transfer(table, silent=True), 1),
        "from parameters": rate(lambda: camb.get_results(pars), 1),
    }
    for name, row in result.items():
        print(f"{name:17s}", "  ".join(f"{key}: {x:.4g}/s" for key, x in row.items()))
    record = {
        "models_per_second": result,
        "float32_max_relative_error_tt": error,
        "shape": [len(operator.pairs), len(operator.ell), len(operator.k)],
        "threads": args.threads,
        "machine": {"machine": platform.machine(), "torch": torch.__version__, "camb": camb.__version__},
    }
    write_json(args.output, record)


if __name__ == "__main__":
    main()
