"""Primordial models per second against CAMB, and solved modes per second against primpy, in one process.

P(k) of every registered closed form, in batches; from P(k) to unlensed spectra by the transfer operator (with
--transfer), and by CAMB one model at a time with its transfer functions kept; the Mukhanov-Sasaki solver, one
batch of modes and potentials, against primpy's RKWKB solver (oscode), one mode at a time. Seconds are the
processor's own, of one thread, so that other work on the machine counts little.

Run: python benchmarks/primordial.py [--transfer FOLDER]   (a product of the workflow's rule join_transfer)
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import camb
import numpy as np
import torch

from cmbfit.io import write_json
from cmbfit.theory.camb_code import CambSettings, camb_parameters
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.inflation import solve_inflation
from cmbfit.theory.primordial.modes import evolve_modes
from cmbfit.theory.primordial.potential import Potential
from cmbfit.theory.transfer.expansion import TransferExpansion
from cmbfit.theory.transfer.store import read_transfer

BACKGROUND = {"ombh2": 0.02237, "omch2": 0.12, "H0": 67.36, "tau": 0.0544}
CLOSED = (
    "power_law",
    "running",
    "cutoff_kinetic",
    "kink",
    "oscillation_log",
    "axion_monodromy",
    "excited_state",
)
STAROBINSKY = ("V0*(1 - exp(-sqrt(2/3)*phi))**2", (0.1, 8.0))


def cpu(call: Callable[[], object], least: float = 1.0) -> float:
    """Return the processor's seconds of one call, the mean over at least `least` seconds."""
    call()
    done, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < least or not done:
        call()
        done += 1
    return elapsed / done


def closed_forms(k: torch.Tensor, batch: int) -> dict[str, float]:
    """Return models per second of P(k) alone."""
    out = {}
    for name in CLOSED:
        model = get_model(name)
        theta = model.defaults().repeat(batch, 1)
        out[name] = batch / cpu(lambda m=model, t=theta: m.power(k, t))
        print(f"{name:18s} {out[name]:8.0f} P(k)/s")
    return out


def camb_rate() -> float:
    """Return unlensed and lensed spectra per second of CAMB for another P(k), its transfer functions kept."""
    pars = camb_parameters(CambSettings(lmax=2600, lens_potential_accuracy=1), **BACKGROUND)
    data = camb.get_transfer_functions(pars)
    k = np.geomspace(1e-6, 20, 4000)
    table = camb.initialpower.SplinedInitialPower(ks=k, PK=2.1e-9 * (k / 0.05) ** -0.035)
    table.effective_ns_for_nonlinear = 0.965
    return 1 / cpu(lambda: data.power_spectra_from_transfer(table, silent=True))


def operator_rate(folder: str, batch: int) -> dict[str, float]:
    """Return models per second from parameters of P(k) to unlensed spectra at every multipole."""
    transfer = read_transfer(folder)
    operator = transfer.at_centre() if isinstance(transfer, TransferExpansion) else transfer
    single = operator.to("cpu", torch.float32)
    model = get_model("oscillation_log")
    theta = model.defaults().repeat(batch, 1)
    return {
        "batch": batch,
        "n_k": len(operator.k),
        "lmax": operator.lmax,
        "models_per_second": batch / cpu(lambda: single.unlensed(model.power(operator.k, theta))),
    }


def solved_modes(n_modes: int, n_potentials: int) -> dict[str, Any]:
    """Return milliseconds a mode and errors of our solver and primpy's, for scalars and tensors of Starobinsky's V."""
    from primpy.efolds.inflation import InflationEquationsN  # noqa: PLC0415  an extra that may be absent
    from primpy.events import InflationEvent  # noqa: PLC0415
    from primpy.initialconditions import SlowRollIC  # noqa: PLC0415
    from primpy.oscode_solver import solve_oscode  # noqa: PLC0415
    from primpy.potentials import StarobinskyPotential  # noqa: PLC0415
    from primpy.solver import solve  # noqa: PLC0415

    factors = np.geomspace(0.05, 20.0, n_modes)
    k = 0.05 * torch.from_numpy(factors)
    formula, limits = STAROBINSKY
    one = Potential(formula, {"V0": 1.0}, limits)
    several = Potential(formula, {"V0": np.linspace(0.9, 1.1, n_potentials)}, limits)
    exact = solve_inflation(one, k, 55.0, rtol=1e-11, inside=1000.0)
    equations = InflationEquationsN(K=0, potential=StarobinskyPotential(Lambda=1.0), track_eta=False)
    start = SlowRollIC(equations, phi_i=5.9, N_i=0.0)
    events = [InflationEvent(equations, -1, terminal=True)]
    background = solve(start, events=events)
    background.calibrate_scale_factor(N_star=55.0)
    scaled = np.exp(background._logaH_star) * factors

    def worst(scalar: np.ndarray) -> float:
        return float(np.abs(scalar / exact.scalar[0].numpy() - 1).max())

    rows: dict[str, Any] = {}
    for name, potential in (("cmbfit, one potential", one), (f"cmbfit, {n_potentials} potentials", several)):
        run = solve_inflation(potential, k, 55.0)
        log_k = run.background.at((run.background.n_end - 55.0)[:, None])[2] + torch.log(k / 0.05)
        modes = cpu(lambda b=run.background, x=log_k: evolve_modes(b, x))
        everything = cpu(lambda p=potential: solve_inflation(p, k, 55.0))
        rows[name] = {
            "ms_per_mode": 1e3 * modes / (n_modes * len(log_k)),
            "background_seconds": everything - modes,
            "worst_error": worst((run.scalar / potential.parameters["V0"])[0].numpy()),
        }
    solved = cpu(lambda: solve(start, events=events))
    for rtol in (1e-4, 1e-6):
        options: dict[str, float] = {"fac_beg": 100, "fac_end": 100, "rtol": rtol}
        peer = solve_oscode(background, scaled, **options)
        rows[f"primpy, rtol {rtol:g}"] = {
            "ms_per_mode": 1e3 * cpu(lambda o=options: solve_oscode(background, scaled, **o)) / n_modes,
            "background_seconds": solved,
            "worst_error": worst(peer.P_s_RST),
        }
    for name, row in rows.items():
        print(
            f"{name:26s} {row['ms_per_mode']:7.2f} ms a mode, background {row['background_seconds']:.2f} s, worst error {row['worst_error']:.1e}"
        )
    return {"modes": n_modes, **rows}


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transfer", help="folder of a transfer expansion or operator")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--modes", type=int, default=100)
    parser.add_argument("--potentials", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/primordial.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    k = torch.logspace(-5, 0, 3645, dtype=torch.float64)
    record: dict[str, Any] = {"batch": args.batch, "n_k": len(k), "closed_forms": closed_forms(k, args.batch)}
    record["camb_per_second"] = camb_rate()
    print(f"CAMB, transfer functions kept: {record['camb_per_second']:.2f} models/s")
    if args.transfer:
        record["operator"] = operator_rate(args.transfer, args.batch)
        print(f"parameters to unlensed spectra: {record['operator']['models_per_second']:.0f} models/s")
    record["solver"] = solved_modes(args.modes, args.potentials)
    record["machine"] = {"machine": platform.machine(), "torch": torch.__version__, "camb": camb.__version__}
    write_json(args.output, record)


if __name__ == "__main__":
    main()
