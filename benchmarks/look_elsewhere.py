"""Fits of oscillations per second: the closed form on all skies and frequencies at once, against one fit at a time.

The peer is numpy.linalg.lstsq for each sky and frequency with the same templates, the fit that any linear code does.
With an expansion around a fit, the linearised improvement of the highest peaks is compared with full non-linear
fits of all parameters (transfer functions moving with the background, the frequency free).

Run: python benchmarks/look_elsewhere.py --transfer FOLDER   (the product of the workflow's rule join_transfer)
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cmbfit.config import load_config
from cmbfit.fit import build_posterior, complete_fit, start_point
from cmbfit.inference.linear_model import linearise, power_response
from cmbfit.inference.look_elsewhere import FrequencySearch
from cmbfit.inference.maximum import find_maximum
from cmbfit.io import write_json
from cmbfit.theory.primordial import get_model
from cmbfit.theory.transfer.expansion import TransferExpansion
from cmbfit.theory.transfer.store import read_transfer

DATA = ["planck2018_plik_lite_ttteee", "planck2018_lowl_tt_2bin", "tau_lowe"]
ROOT = Path(__file__).resolve().parent.parent


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the processor's seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transfer", required=True, help="folder of a transfer expansion or operator")
    parser.add_argument("--model", default="oscillation_linear")
    parser.add_argument("--frequencies", type=int, nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--skies", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--peaks", type=int, default=4, help="highest peaks that get a full fit; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/look_elsewhere.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    section = {**load_config(["default"])["fits"]["lcdm_planck2018"], "data": DATA}
    fit = complete_fit("smooth", section, "lcdm_planck2018")
    posterior = build_posterior(fit, fold=False)
    best = find_maximum(posterior, *start_point(fit, posterior))
    transfer = read_transfer(args.transfer)
    operator = transfer.at_centre() if isinstance(transfer, TransferExpansion) else transfer
    smooth = get_model("power_law")
    power = smooth.power(operator.k, smooth.point({p: best.point[p] for p in smooth.parameter_names}))[0]
    seconds = {}
    start = time.process_time()
    model = linearise(posterior, best.point)
    seconds["linear model"] = time.process_time() - start
    start = time.process_time()
    response = power_response(model, operator, power)
    seconds["response"] = time.process_time() - start
    rng = np.random.default_rng(1)
    noise = torch.from_numpy(rng.standard_normal((max(args.skies), len(model.residual))))
    scaling = []
    for n in args.frequencies:
        omega = torch.linspace(1, 126, n, dtype=torch.float64)
        start = time.process_time()
        search = FrequencySearch(model, response, operator.k, args.model, omega)
        templates = time.process_time() - start
        for m in args.skies if n == max(args.frequencies) else [max(args.skies)]:
            skies = noise[:m]
            took = cpu_seconds(lambda s=search, x=skies: s.simulate(x))
            scaling.append({"frequencies": n, "skies": m, "templates": templates, "skies_seconds": took})
            print(
                f"{n} frequencies, {m} skies: templates {templates:.2f} s, skies {took:.2f} s ({n * m / took:.3g} fits/s)"
            )
    without = model.jacobian.numpy()
    picks = rng.integers(0, len(omega), 100)

    def one_at_a_time() -> None:
        for i, j in enumerate(picks):
            columns = search.template(int(j)).numpy().T
            np.linalg.lstsq(np.concatenate([without, columns], 1), noise[i].numpy())

    peer = cpu_seconds(one_at_a_time) / len(picks)
    print(f"least squares, one sky and frequency at a time: {1 / peer:.3g} fits/s")
    record = {
        "model": args.model,
        "rows": len(model.residual),
        "cpu_seconds": seconds,
        "scaling": scaling,
        "lstsq_fits_per_second": 1 / peer,
        "threads": args.threads,
        "machine": {"machine": platform.machine(), "torch": torch.__version__, "numpy": np.__version__},
    }
    if args.peaks and isinstance(transfer, TransferExpansion):
        record["full_fits"] = _full_fits(args, search, model.residual, best.point)
    write_json(args.output, record)


def _full_fits(
    args: argparse.Namespace, search: FrequencySearch, residual: torch.Tensor, point: dict[str, float]
) -> list[dict[str, float]]:
    """Return the improvement of the data at the highest peaks, linearised and by full fits."""
    found = search.fits(residual[None])
    x = found.improvement[0]
    inner = (x[1:-1] > x[:-2]) & (x[1:-1] > x[2:])
    peaks = (inner.nonzero()[:, 0] + 1).tolist()
    peaks = sorted(peaks, key=lambda i: -float(x[i]))[: args.peaks]
    shared = load_config(["early_universe"])["fits"]["running"]
    # what the linear search holds fixed (an envelope, a drift) stays fixed
    own = ("logA", "ns", "amplitude", "log10_omega", "phase")
    fixed = {p.name: p.default for p in get_model(args.model).parameters if p.name not in own}
    fit = complete_fit(
        "oscillating",
        {
            "data": DATA,
            "priors": shared["priors"] | {p: {"uniform": [x - 1e-6, x + 1e-6]} for p, x in fixed.items()},
            "theory": {"primordial": args.model},
            "start": {p: shared["start"][p] for p in point} | {p: [x, 1e-7] for p, x in fixed.items()},
        },
        "lcdm_planck2018",
        transfer=args.transfer,
    )
    full = build_posterior(fit)
    centre, scale = start_point(fit, full)
    centre |= {p: v for p, v in point.items() if p in centre}
    smooth = float(residual.square().sum())
    rows = []
    for i in peaks:
        omega = float(search.frequencies[i])
        at = {
            "amplitude": float(found.amplitude[0, i]),
            "log10_omega": math.log10(omega),
            "phase": float(found.phase[0, i]),
        }
        best = find_maximum(
            full, {**centre, **at}, {**scale, "amplitude": 0.01, "log10_omega": 0.005, "phase": 0.3}
        )
        calibration = ((best.point["A_planck"] - 1) / 0.0025) ** 2
        row = {
            "omega": omega,
            "linear": float(x[i]),
            "full": smooth - sum(best.chi2.values()) - calibration,
            "amplitude_linear": at["amplitude"],
            "amplitude_full": best.point["amplitude"],
            "omega_full": 10 ** best.point["log10_omega"],
        }
        rows.append(row)
        print("  ".join(f"{k} {v:.4g}" for k, v in row.items()))
    return rows


if __name__ == "__main__":
    main()
