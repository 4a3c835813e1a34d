"""Mode couplings, bandpowers and covariances beside pywiggle and another version of cmbfit, interleaved in one run.

    OMP_NUM_THREADS=1 python benchmarks/couplings.py [--nside 512] [--base FOLDER] [--pywiggle PYTHON] [--rounds 5]
        [--only pair survey covariance] [--figure]

Each measurement is a process of its own, so that peak memory is its own, and none keeps what another has computed.
Times are processor seconds of one thread, medians over rounds. `--base` is the source tree of another version (a git worktree),
`--pywiggle` a Python that has pywiggle. All begin with the same masked alms and the same mask; pywiggle is asked
for bandpowers that are flat in D_l in each bin, by weights l (l + 1) and a beam 1 / l (l + 1).
Results: benchmarks/results/couplings.json and, with --figure, benchmarks/couplings.png.
"""

# ruff: noqa: PLC0415 (children import what they measure)

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve()
RESULTS = HERE.parent / "results"
LMAX = {128: 375, 256: 750, 512: 1500, 1024: 3000}
WIDTH = 30
NAMES = ("tt", "te", "et", "tb", "bt", "ee", "eb", "be", "bb")


def peak_gib() -> float:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor seconds of some work, and what it returned."""
    start = time.process_time()
    out = work()
    return time.process_time() - start, out


def make_inputs(nside: int, folder: Path) -> None:
    """Write a mask, its coefficients, and those of two masked maps."""
    import numpy as np
    from spectra import sky

    from cmbfit.sky import apodise
    from cmbfit.sky.harmonic import map2alm
    from cmbfit.spectra.transforms import masked_alms

    lmax = LMAX[nside]
    make, sharp, _ = sky(nside, lmax)
    mask = apodise(sharp, 2.0, "C2")
    np.save(folder / "mask.npy", mask.weights)
    np.save(folder / "mask_alm.npy", map2alm(mask.weights[None], 2 * lmax, 0, 0)[0])
    for name in "ab":
        a = masked_alms(make(name), mask, lmax)
        np.save(folder / f"{name}.npy", np.stack([a.t, a.e, a.b]))


def pair(nside: int, folder: Path) -> dict[str, Any]:
    """Bandpowers and windows of two IQU maps behind one mask."""
    import numpy as np

    from cmbfit.sky import Mask
    from cmbfit.sky.harmonic import alm2cl, map2alm
    from cmbfit.spectra import Bins, Transfer, prepare
    from cmbfit.spectra.coupling import coupling
    from cmbfit.spectra.transforms import FieldAlms, pseudo_spectra

    lmax = LMAX[nside]
    mask = Mask(np.load(folder / "mask.npy"), coord="G")
    a, b = (FieldAlms(*np.load(folder / f"{x}.npy"), lmax) for x in "ab")
    bins, one = Bins.linear(2, lmax, WIDTH), Transfer(np.ones(lmax + 1), np.ones(lmax + 1))
    transform, alm = timed(lambda: map2alm(mask.weights[None], 2 * lmax, 0, 0)[0])

    def bandpowers() -> dict[str, Any]:
        c = coupling(alm2cl(alm, alm), lmax)
        return prepare(mask, bins, one, one, lmax, mask_coupling=c).decouple(pseudo_spectra(a, b))

    seconds, found = timed(bandpowers)
    np.save(folder / f"{os.environ['BENCHMARK_OF']}_found.npy", np.array([found[k] for k in NAMES]))
    return {"mask transform": transform, "bandpowers": seconds, "with windows": seconds}


def wiggle(nside: int, folder: Path, windows: bool) -> dict[str, Any]:
    """Pywiggle on the same coefficients."""
    import healpy
    import numpy as np
    import pywiggle

    lmax = LMAX[nside]
    alm = np.load(folder / "mask_alm.npy")
    a, b = (np.load(folder / f"{x}.npy") for x in "ab")
    edges = [*range(2, lmax + 2, WIDTH)]
    rest = lmax + 1 - edges[-1]
    if rest:  # the bins of cmbfit, with those that pad it
        count = max(1, round(rest / WIDTH))
        edges += [edges[-1] + round(rest * (k + 1) / count) for k in range(count)]
    ell = np.arange(lmax + 1.0)
    weights = ell * (ell + 1) / (2 * np.pi)
    beam = np.divide(1, weights, out=np.zeros(lmax + 1), where=weights > 0)
    name = "with windows" if windows else "bandpowers"
    seconds, found = timed(
        lambda: pywiggle.get_powers(
            a,
            b,
            alm,
            bin_weights=weights,
            beam_fl1=beam,
            lmax=lmax,
            bin_edges=edges,
            return_theory_filter=windows,
        )
    )
    n = (lmax - 1) // WIDTH
    np.save(folder / "pywiggle_found.npy", np.array([found[k.upper()]["Cls"][:n] for k in NAMES]))
    out = {name: seconds}
    if not windows:
        mask = np.load(folder / "mask.npy")
        out["mask transform"], _ = timed(lambda: healpy.map2alm(mask, lmax=2 * lmax, iter=0))
    return out


def plan_of(nside: int, folder: Path, n_maps: int) -> Callable[[], Any]:
    """Return what builds the plan of all pairs of `n_maps` fields of two splits, behind up to three masks."""
    import numpy as np

    from cmbfit.sky import Mask
    from cmbfit.spectra import Bins, Field, Transfer, make_plan

    lmax = LMAX[nside]
    w = np.load(folder / "mask.npy")
    masks = [Mask(w**k, coord="G") for k in (1, 2, 3)]
    one = Transfer(np.ones(lmax + 1), np.ones(lmax + 1))
    fields = [Field(f"map{k}", 2, masks[k % 3], one) for k in range(n_maps)]
    return lambda: make_plan(fields, Bins.linear(2, lmax, WIDTH), lmax)


def survey(nside: int, folder: Path, n_maps: int = 6) -> dict[str, Any]:
    """Plan all pairs of maps behind three masks: six maps, 21 pairs."""
    import numpy as np

    seconds, plan = timed(plan_of(nside, folder, n_maps))
    windows = [w for m in plan.masters.values() for w in m.windows.values()]
    np.save(
        folder / f"{os.environ['BENCHMARK_OF']}_found.npy",
        np.array([w[:, 2:].sum(axis=1) for w in windows]).reshape(1, -1),
    )
    return {f"plan of {n_maps} maps": seconds}


def covariance(nside: int, folder: Path) -> dict[str, Any]:
    """Covariance of nine spectra of two maps, after the plan that it needs."""
    import numpy as np
    from spectra import theory

    from cmbfit.sky import Mask
    from cmbfit.spectra import Bins, Field, Noise, Transfer, make_plan, multi_covariance
    from cmbfit.spectra.estimate import cl_from_dl

    lmax = LMAX[nside]
    mask = Mask(np.load(folder / "mask.npy"), coord="G")
    one, level = (
        Transfer(np.ones(lmax + 1), np.ones(lmax + 1)),
        np.full(lmax + 1, 400 * 4 * np.pi / (12 * nside**2)),
    )
    fields = [Field(name, 1, mask, one, Noise(level, level)) for name in "ab"]
    before, plan = timed(lambda: make_plan(fields, Bins.linear(2, lmax, WIDTH), lmax))
    signal = cl_from_dl(theory(lmax), lmax)
    seconds, matrix = timed(lambda: multi_covariance(plan, fields, signal))
    scale = np.sqrt(np.diag(matrix))
    found = (matrix / np.outer(scale, scale)).reshape(1, -1)
    np.save(folder / f"{os.environ['BENCHMARK_OF']}_found.npy", found)
    return {"plan": before, "covariance": seconds, "plan and covariance": before + seconds}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"pair": pair, "survey": survey, "covariance": covariance}


def child(command: list[str], who: str, source: Path, folder: Path) -> dict[str, Any]:
    """Run one measurement in a process of its own and return its figures and what it found."""
    import numpy as np

    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {
        **os.environ,
        **threads,
        "BENCHMARK_OF": who,
        "PYTHONPATH": f"{source}{os.pathsep}{HERE.parent}",
    }
    done = subprocess.run(
        [*command, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    out: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    path = folder / f"{who}_found.npy"
    return {**out, "found": np.load(path) if path.exists() else None}


def compare(nside: int, args: argparse.Namespace, tasks: list[str], rounds: int) -> dict[str, Any]:
    """Return medians, ratios and differences of one nside."""
    import numpy as np

    here = HERE.parents[1]
    out: dict[str, Any] = {"nside": nside, "lmax": LMAX[nside], "rounds": rounds, "load": os.getloadavg()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child([sys.executable, str(HERE), "--child", "inputs", "--nside", str(nside)], "inputs", here, folder)
        for task in tasks:
            runs = {"cmbfit": ([sys.executable, task], here)}
            if args.base:
                runs["base"] = ([sys.executable, task], args.base)
            if args.pywiggle and task == "pair":
                runs["pywiggle"] = ([args.pywiggle, "wiggle"], here)
                runs["pywiggle, windows"] = ([args.pywiggle, "wiggle-windows"], here)
            rows: dict[str, list[dict[str, Any]]] = {who: [] for who in runs}
            for _ in range(rounds):
                for who, ((python, what), source) in runs.items():
                    command = [python, str(HERE), "--child", what, "--nside", str(nside)]
                    label = who.split(",", maxsplit=1)[0]
                    rows[who].append(child(command, label, source, folder))
            found = {who: r[-1].pop("found") for who, r in rows.items()}
            ours = found["cmbfit"]
            out[task] = {
                who: {k: median(x[k] for x in r) for k in r[0] if k != "found"} for who, r in rows.items()
            }
            out[task]["largest difference over largest"] = {
                who: float((np.abs(x - ours).max(axis=-1) / np.abs(ours).max(axis=-1)).max())
                for who, x in found.items()
                if who != "cmbfit"
            }
            print(json.dumps({task: out[task]}, indent=1), flush=True)
    return out


def scaling(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return seconds of pairs at each nside, and, where 256 is among them, of surveys of more and more maps there."""
    out = []
    here = HERE.parents[1]
    for nside in sorted(args.nside):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            command = [sys.executable, str(HERE), "--child", "inputs", "--nside", str(nside)]
            child(command, "inputs", here, folder)
            runs = [("pair", None)] + ([("survey", k) for k in (1, 3, 6, 12)] if nside == 256 else [])
            for task, maps in runs:
                for who, source in (("cmbfit", here), ("base", args.base)):
                    if source is None:
                        continue
                    command = [sys.executable, str(HERE), "--child", task, "--nside", str(nside)]
                    command += ["--maps", str(maps)] if maps else []
                    rows = [child(command, who, source, folder) for _ in range(args.rounds)]
                    for r in rows:
                        r.pop("found")
                    figures = {k: median(r[k] for r in rows) for k in rows[0]}
                    out.append({"nside": nside, "task": task, "maps": maps, "who": who, **figures})
                    print(json.dumps(out[-1]), flush=True)
    return out


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot processor seconds against lmax and nside, and against the number of maps."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = {"cmbfit": "now", "base": "whole matrices"}
    for k, (who, label) in enumerate(names.items()):
        pairs = [r for r in rows if r["task"] == "pair" and r["who"] == who]
        lmax = np.array([LMAX[r["nside"]] for r in pairs], dtype=float)
        if not pairs:
            continue
        left.loglog(
            lmax,
            [r["bandpowers"] for r in pairs],
            f"C{k}o-",
            label=f"couplings, windows, bandpowers, {label}",
        )
        left.loglog(lmax, [r["mask transform"] for r in pairs], f"C{k}s--", label=f"mask transform, {label}")
        plans = [r for r in rows if r["task"] == "survey" and r["who"] == who]
        right.plot(
            [r["maps"] for r in plans],
            [r[f"plan of {r['maps']} maps"] for r in plans],
            f"C{k}o-",
            label=label,
        )
    first = next(r for r in rows if r["task"] == "pair")
    ell = np.array(sorted({LMAX[r["nside"]] for r in rows}), dtype=float)
    left.loglog(
        ell, first["bandpowers"] * (ell / LMAX[first["nside"]]) ** 3, "k:", label=r"$\ell_\mathrm{max}^3$"
    )
    left.set(xlabel=r"$\ell_\mathrm{max}$ (nside = $\ell_\mathrm{max}$ / 2.93)", ylabel="processor seconds")
    right.set(xlabel="maps (all pairs, three masks), nside 256", ylabel="processor seconds", ylim=(0, None))
    for axes in (left, right):
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Compare, and plot the scaling."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, nargs="+", default=[512], choices=sorted(LMAX))
    parser.add_argument("--base", type=Path, help="source tree of another version")
    parser.add_argument("--pywiggle", help="a Python that has pywiggle")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--figure", action="store_true")
    parser.add_argument("--maps", type=int, default=6, help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = sys.argv[1:]
    if "--child" in arguments:  # ... --child TASK --nside N [--maps K] FOLDER
        folder = Path(arguments.pop())
        what, nside = arguments[1], int(arguments[3])
        before = peak_gib()
        if what == "inputs":
            make_inputs(nside, folder)
            found: dict[str, Any] = {}
        elif what.startswith("wiggle"):
            found = wiggle(nside, folder, what.endswith("windows"))
        elif what == "survey":
            found = survey(nside, folder, int(arguments[5]) if len(arguments) > 4 else 6)
        else:
            found = TASKS[what](nside, folder)
        print(json.dumps({**found, "peak GiB": peak_gib(), "peak before GiB": before}))
        return
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "couplings.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    if args.figure:
        kept["scaling"] = scaling(args)
        plot(kept["scaling"], HERE.with_suffix(".png"))
    else:
        for nside in args.nside:
            kept.setdefault(str(nside), {}).update(compare(nside, args, args.only, args.rounds))
    path.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
