"""Power spectra: time, memory and scaling at nside 512, 1024, 2048, with healpy and NaMaster in the same run.

    python benchmarks/spectra.py [--nside 512 1024 2048] [--threads 1] [--peer-nside 512]

Each nside runs in a process of its own, so that peak memory is its own. NaMaster (pymaster) is used where it is
installed. Results: benchmarks/results/spectra.json and benchmarks/spectra.png.
"""

# ruff: noqa: PLC0415 (the parent process stays light: each child measures its own memory)

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LMAX = {256: 750, 512: 1500, 1024: 3000, 2048: 4000}
RESULTS = Path(__file__).parent / "results"
WIDTH = 30


class Clock(dict[str, float]):
    """Wall-clock seconds by name; `cpu` holds those of the process, which a busy machine does not stretch."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the work and add its time to that of the name."""
        wall, cpu = time.perf_counter(), time.process_time()
        out = work()
        self[name] = self.get(name, 0.0) + time.perf_counter() - wall
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu
        return out


def peak_gib() -> float:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def theory(lmax: int) -> dict[str, Any]:
    """Return D_l with peaks, damping and a small B, in uK^2 from l = 0."""
    import numpy as np

    ell = np.arange(lmax + 1.0)
    damp = np.exp(-((ell / 1200) ** 1.2))
    dl = {
        "tt": 1000 * damp + 2000 * damp * np.sin(ell / 95) ** 2,
        "ee": 40 * damp * (ell / 900),
        "bb": 0.1 * (ell / 900),
    }
    dl["te"] = 0.3 * np.sqrt(dl["tt"] * dl["ee"]) * np.cos(ell / 95)
    for x in dl.values():
        x[:2] = 0
    return dl


def sky(nside: int, lmax: int) -> Any:
    """Return what makes each of two maps of one sky, |b| > 20 degrees with 300 point-source holes, and the theory."""
    import healpy
    import numpy as np

    from cmbfit.sky import Mask, StokesMap
    from cmbfit.sky.harmonic import alm2stokes
    from cmbfit.sky.maps import unit_vectors
    from cmbfit.sky.simulate import draw_alm

    dl = theory(lmax)
    rng = np.random.default_rng(1)
    alm = draw_alm(dl, lmax, rng)

    def make(name: str) -> StokesMap:
        iqu = alm2stokes(alm, nside, nthreads=os.cpu_count() or 1)
        rng = np.random.default_rng(ord(name))
        for k in range(3):
            iqu[k] += 20 * rng.standard_normal(iqu.shape[1])
        return StokesMap(*iqu, coord="G", name=name)

    vectors = unit_vectors(nside)
    weights = (np.abs(vectors[:, 2]) > np.sin(np.radians(20))).astype(float)
    for centre in vectors[rng.integers(0, len(vectors), 300)]:
        weights[healpy.query_disc(nside, centre, np.radians(0.6))] = 0
    return make, Mask(weights, coord="G"), dl


def measure(nside: int, threads: int, peer: bool, covariance_nside: int) -> dict[str, Any]:
    """Return the figures of one nside."""
    import healpy
    import numpy as np

    from cmbfit.sky import apodise
    from cmbfit.spectra import Bins, Field, Noise, Plan, Transfer, multi_covariance, prepare
    from cmbfit.spectra.coupling import coupling
    from cmbfit.spectra.estimate import cl_from_dl
    from cmbfit.spectra.mask_couplings import MaskCouplings
    from cmbfit.spectra.transforms import mask_spectrum, masked_alms, pseudo_spectra

    lmax = LMAX[nside]
    make, sharp, dl = sky(nside, lmax)
    out: dict[str, Any] = {"nside": nside, "lmax": lmax, "threads": threads, "load": os.getloadavg()}
    out["peak_before_gib"] = peak_gib()
    s = Clock()
    mask = s("apodise C2 2 deg", lambda: apodise(sharp, 2.0, "C2"))
    alms = []
    for name in "ab":  # as the pipeline does: one map in memory at a time
        one_map = make(name)
        alms.append(s("alms of two IQU maps", lambda m=one_map: masked_alms(m, mask, lmax, nthreads=threads)))
        del one_map
    spectrum = s("mask spectrum", lambda: mask_spectrum(mask, 2 * lmax, nthreads=threads))
    c = coupling(spectrum, lmax, nthreads=threads)
    bins = Bins.linear(2, lmax, WIDTH)
    one = Transfer(np.ones(lmax + 1), np.ones(lmax + 1))
    master = s("couplings and windows", lambda: prepare(mask, bins, one, one, lmax, mask_coupling=c))
    found = s("pseudo-spectra and bandpowers", lambda: master.decouple(pseudo_spectra(*alms)))
    parts = (
        "alms of two IQU maps",
        "mask spectrum",
        "couplings and windows",
        "pseudo-spectra and bandpowers",
    )
    s["one IQU cross-spectrum"], s.cpu["one IQU cross-spectrum"] = (
        sum(x[k] for k in parts) for x in (s, s.cpu)
    )
    out["peak_spectrum_gib"] = peak_gib()
    level = np.full(lmax + 1, 400.0 * 4 * np.pi / mask.weights.size)
    fields = [Field(name, 1, mask, one, Noise(level, level)) for name in "ab"]
    if nside <= covariance_nside:
        plan = Plan(bins, lmax, {("a", "b"): master}, MaskCouplings(lmax, threads))
        s(
            "covariance of nine spectra",
            lambda: multi_covariance(plan, fields, cl_from_dl(dl, lmax), nthreads=threads),
        )
        out["peak_covariance_gib"] = peak_gib()
    iqu = make("a").iqu
    iqu *= mask.weights
    theirs = s("healpy: alms of one IQU map", lambda: healpy.map2alm(iqu, lmax=lmax, pol=True, iter=0))
    ours = np.stack([alms[0].t, alms[0].e, alms[0].b])
    out["healpy"] = {
        "cpu ratio": s.cpu["healpy: alms of one IQU map"] / (s.cpu["alms of two IQU maps"] / 2),
        "largest difference over rms": float(np.abs(ours - theirs).max() / np.abs(theirs).std()),
    }
    if peer and find_spec("pymaster"):
        out["pymaster"] = namaster([make(n) for n in "ab"], mask, bins, lmax, found, s)
        mine = sum(s.cpu[k] for k in parts[1:3])
        out["pymaster"]["cpu ratio, workspaces"] = s.cpu["NaMaster: workspaces 00, 02, 22"] / mine
    return out | {"seconds": dict(s), "cpu_seconds": s.cpu}


def namaster(
    maps: Any, mask: Any, bins: Any, lmax: int, found: dict[str, Any], clock: Clock
) -> dict[str, Any]:
    """Time NaMaster and return its largest difference from our bandpowers, in units of their scatter."""
    import numpy as np
    import pymaster as nmt

    edges = np.array(bins.padded(lmax).edges)
    b = nmt.NmtBin.from_edges(edges[:-1], edges[1:], is_Dell=True)

    def fields() -> list[Any]:
        return [
            (
                nmt.NmtField(mask.weights, [m.i], lmax=lmax, lmax_mask=2 * lmax, n_iter=0, n_iter_mask=0),
                nmt.NmtField(
                    mask.weights, [m.q, m.u], lmax=lmax, lmax_mask=2 * lmax, n_iter=0, n_iter_mask=0
                ),
            )
            for m in maps
        ]

    f = clock("NaMaster: fields", fields)
    kinds = {"00": (0, 0), "02": (0, 1), "22": (1, 1)}
    spaces = clock(
        "NaMaster: workspaces 00, 02, 22",
        lambda: {k: nmt.NmtWorkspace.from_fields(f[0][i], f[1][j], b) for k, (i, j) in kinds.items()},
    )
    names = {"00": ("tt",), "02": ("te", "tb"), "22": ("ee", "eb", "be", "bb")}
    worst = {}
    for k, (i, j) in kinds.items():
        cl = spaces[k].decouple_cell(nmt.compute_coupled_cell(f[0][i], f[1][j]))
        for name, values in zip(names[k], cl, strict=True):
            mine = found[name]
            worst[name] = float(np.abs(values[: bins.n] - mine).max() / np.std(mine))
    return {"version": nmt.__version__, "largest difference": worst,
            "threads": os.environ.get("OMP_NUM_THREADS")}  # fmt: skip


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot seconds against lmax beside lmax^3."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    lmax = np.array([r["lmax"] for r in rows], dtype=float)
    for name in ("alms of two IQU maps", "couplings and windows", "one IQU cross-spectrum"):
        axes.loglog(lmax, [r["cpu_seconds"][name] for r in rows], "o-", label=name)
    total = rows[0]["cpu_seconds"]["one IQU cross-spectrum"]
    axes.loglog(lmax, total * (lmax / lmax[0]) ** 3, "k:", label=r"$\ell_\mathrm{max}^3$")
    axes.set(xlabel=r"$\ell_\mathrm{max}$", ylabel="CPU seconds")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run each nside in its own process and publish the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, nargs="+", default=[512, 1024, 2048], choices=sorted(LMAX))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer-nside", type=int, default=512, help="NaMaster runs up to here")
    parser.add_argument("--covariance-nside", type=int, default=1024, help="covariances up to here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(
            json.dumps(
                measure(args.nside[0], args.threads, args.nside[0] <= args.peer_nside, args.covariance_nside)
            )
        )
        return
    rows: list[dict[str, Any]] = []
    for nside in args.nside:
        environment = os.environ | {k: str(args.threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        command = [sys.executable, __file__, "--child", "--nside", str(nside), "--threads", str(args.threads)]
        command += ["--peer-nside", str(args.peer_nside), "--covariance-nside", str(args.covariance_nside)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(rows[-1], indent=1))
        publish(rows)


def publish(rows: list[dict[str, Any]]) -> None:
    """Write what there is so far: a run that is stopped keeps its finished sizes."""
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "spectra.json").write_text(json.dumps({"machine": machine, "runs": rows}, indent=2) + "\n")
    if len(rows) > 1:
        plot(rows, Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
