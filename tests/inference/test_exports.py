"""Samples as other programs read them, held against these programs."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from shutil import which

import emcee
import getdist
import numpy as np
import pytest
import xarray as xr

from cmbfit.errors import SamplerError
from cmbfit.inference.chain import Chain
from cmbfit.inference.diagnostics import effective_samples
from cmbfit.inference.exports import publish_getdist, write_arviz, write_getdist
from cmbfit.inference.products import Samples, collect_samples

MEAN, SIGMA = np.array([0.0224, 0.055, 67.3]), np.array([1.5e-4, 0.007, 0.6])
PRIORS = {"ombh2": {"uniform": [0.019, 0.026]}, "tau": {"gaussian": [0.06, 0.02]}}
RHO = 0.8
TAU = (1 + RHO) / (1 - RHO)  # of an autoregressive process of order 1: 9 steps


def autoregressive(rng: np.random.Generator, steps: int, walkers: int = 32) -> Chain:
    """Walkers x_{i+1} = rho x_i + sqrt(1 - rho^2) noise, each with tau = (1 + rho) / (1 - rho)."""
    x = np.empty((steps, walkers, 2))
    x[0] = rng.standard_normal((walkers, 2))
    for i in range(1, steps):
        x[i] = RHO * x[i - 1] + np.sqrt(1 - RHO**2) * rng.standard_normal((walkers, 2))
    samples, log_prob = MEAN[:2] + SIGMA[:2] * x, -0.5 * (x**2).sum(2)
    tau = emcee.autocorr.integrated_time(samples[steps // 5 :], tol=0)
    names, history = ("ombh2", "tau"), [(steps, tau.tolist())]
    return Chain(names, samples, log_prob, tau, history, 0.4, True, 1.0, 9, {})


def collected(chains: list[Chain], rng: np.random.Generator) -> Samples:
    bare = collect_samples(chains, [{}] * len(chains), {})
    h0 = [{"H0": MEAN[2] + SIGMA[2] * rng.standard_normal(len(v))} for v in bare.values]
    log_prior = [-0.5 * ((v[:, 1] - 0.06) / 0.02) ** 2 for v in bare.values]
    return collect_samples(chains, h0, {"ombh2": (None, None), "tau": (0.04, None)}, log_prior, PRIORS)


@pytest.fixture(scope="module")
def chains() -> list[Chain]:
    """Ensembles of different lengths, as runs that stop by themselves have."""
    rng = np.random.default_rng(7)
    return [autoregressive(rng, 3000), autoregressive(rng, 2400)]


@pytest.fixture(scope="module")
def samples(chains: list[Chain]) -> Samples:
    return collected(chains, np.random.default_rng(8))


@pytest.fixture(scope="module")
def weights(samples: Samples) -> list[np.ndarray]:
    """ln w = d x - d^2 / 2 moves a unit normal by d = 0.3."""
    x = [(v[:, 0] - MEAN[0]) / SIGMA[0] for v in samples.values]
    return [np.exp(0.3 * u - 0.3**2 / 2) for u in x]


def arviz_file(path: Path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="arviz")  # announces its refactoring
        import arviz
    return arviz, arviz.from_netcdf(path)


def test_getdist_and_arviz_find_the_autocorrelation(
    tmp_path: Path, chains: list[Chain], samples: Samples, weights: list[np.ndarray]
) -> None:
    """Both within 20% of emcee's figure and of the closed form; the kept rows are 2.2 times as many."""
    true = sum(c.steps * 0.8 for c in chains) * 32 / TAU
    ours = np.sum([effective_samples(c) for c in chains], axis=0)
    # Sokal's (4 M + 2) / (steps x walkers) with a window of M = 5 tau: 4%; a walker's own mean is taken off: 2 M / steps = 4%
    np.testing.assert_allclose(ours, true, rtol=0.12)
    assert len(samples.joined) > 2 * true
    write_getdist(tmp_path / "fit", samples)
    write_arviz(tmp_path / "fit.nc", samples)
    got = getdist.loadMCSamples(str(tmp_path / "fit"), no_cache=True)
    arviz, data = arviz_file(tmp_path / "fit.nc")
    found = arviz.ess(data)
    for i, name in enumerate(chains[0].parameters):
        for n in (got.getEffectiveSamples(i), float(found[name])):
            assert n == pytest.approx(ours[i], rel=0.2)
            assert n == pytest.approx(true, rel=0.2)
    assert float(found["H0"]) == pytest.approx(len(samples.joined), rel=0.2)  # independent draws
    data.close()
    # Kish: <w>^2 / <w^2> = exp(-d^2) of the draws are left by the weights, whose rows keep their order
    write_getdist(tmp_path / "moved", samples, weights)
    moved = getdist.loadMCSamples(str(tmp_path / "moved"), no_cache=True)
    assert moved.getEffectiveSamples(1) == pytest.approx(true * np.exp(-0.09), rel=0.2)


def test_getdist_finds_the_posterior_that_the_weights_make(
    tmp_path: Path, samples: Samples, weights: list[np.ndarray]
) -> None:
    """The mean moves by d = 0.3; -ln posterior of a row falls by ln w."""
    write_getdist(tmp_path / "plain", samples)
    write_getdist(tmp_path / "moved", samples, weights)
    plain, moved = (getdist.loadMCSamples(str(tmp_path / name), no_cache=True) for name in ("plain", "moved"))
    # the weighted mean of 14000 effective draws scatters by 1% of sigma
    assert (moved.mean("ombh2") - plain.mean("ombh2")) / SIGMA[0] == pytest.approx(0.3, abs=0.06)
    assert moved.mean("tau") == pytest.approx(plain.mean("tau"), abs=0.06 * SIGMA[1])
    one, two = (np.loadtxt(tmp_path / f"{name}.1.txt") for name in ("plain", "moved"))
    np.testing.assert_allclose(one[:, 1] - two[:, 1], np.log(weights[0]), atol=1e-6)
    np.testing.assert_allclose(two[:, 0], weights[0], rtol=1e-8)


def test_getdist_reads_its_files(tmp_path: Path, samples: Samples) -> None:
    written = write_getdist(tmp_path / "fit", samples)
    assert {p.name for p in written} == {p.name for p in tmp_path.iterdir()} == {
        "fit.1.txt", "fit.2.txt", "fit.paramnames", "fit.ranges", "fit.updated.yaml",
    }  # fmt: skip
    got = getdist.loadMCSamples(str(tmp_path / "fit"), no_cache=True)
    assert got.numrows == len(samples.joined)
    names = got.getParamNames()
    sums = ["minuslogprior", "minuslogprior__0", "chi2", "chi2__cmbfit"]
    assert names.list() == ["ombh2", "tau", "H0", *sums]
    assert [p.name for p in names.names if p.isDerived] == ["H0", *sums]
    assert names.parWithName("ombh2").label == r"\Omega_\mathrm{b} h^2"
    # ten digits are written
    for i, name in enumerate(samples.names):
        x = samples.joined[:, i]
        assert got.mean(name) == pytest.approx(x.mean(), rel=1e-8)
        assert got.std(name) == pytest.approx(x.std(), rel=1e-6)
    np.testing.assert_allclose(got.loglikes, -np.concatenate(samples.log_prob), rtol=1e-8)
    assert got.ranges.getLower("tau") == 0.04
    assert got.ranges.getUpper("tau") is None
    # limits of a normal: +-1 sigma at 68.3%; thousands of draws and smoothing: some percent of sigma
    limits = got.getMargeStats().parWithName("H0").limits[0]
    assert limits.lower == pytest.approx(np.percentile(samples.column("H0"), 16), abs=0.1 * SIGMA[2])
    assert limits.upper == pytest.approx(np.percentile(samples.column("H0"), 84), abs=0.1 * SIGMA[2])


def test_cobaya_reads_the_same_files(tmp_path: Path, samples: Samples, weights: list[np.ndarray]) -> None:
    """It refuses files whose sums do not hold: minuslogpost = minuslogprior + chi2 / 2, and those of the parts."""
    cobaya = pytest.importorskip("cobaya")
    write_getdist(tmp_path / "plain", samples)
    write_getdist(tmp_path / "moved", samples, weights)
    joined, log_prob = samples.joined, np.concatenate(samples.log_prob)
    for name, w in (("plain", np.ones(len(joined))), ("moved", np.concatenate(weights))):
        got = cobaya.load_samples(str(tmp_path / name), combined=True)
        data = got.data
        np.testing.assert_allclose(data[list(samples.names)], joined, rtol=1e-8)
        np.testing.assert_allclose(data["weight"], w, rtol=1e-8)
        np.testing.assert_allclose(data["minuslogpost"], -log_prob - np.log(w), atol=1e-6)
        chi2 = -2 * (log_prob + np.log(w) - np.concatenate(samples.log_prior))
        np.testing.assert_allclose(data["chi2"], chi2, atol=1e-6)
        assert got.temperature == 1
        # ten digits are written
        np.testing.assert_allclose(got.mean()[0], np.average(joined[:, 0], weights=w), rtol=1e-8)
    plotted = cobaya.load_samples(str(tmp_path / "plain"), to_getdist=True)
    assert plotted.ranges.getLower("ombh2") == 0.019
    assert plotted.getParamNames().parWithName("H0").isDerived


def test_unknown_priors_leave_a_root_that_only_getdist_reads(tmp_path: Path, samples: Samples) -> None:
    """Numbers of earlier runs have no ln prior: none is made up."""
    known = Samples(samples.names, samples.values, samples.log_prob, 2, samples.ranges)
    publish_getdist(tmp_path / "g" / "fit", samples)
    publish_getdist(tmp_path / "g" / "fit", known)
    assert not (tmp_path / "g" / "fit.updated.yaml").exists()
    got = getdist.loadMCSamples(str(tmp_path / "g" / "fit"), no_cache=True)
    assert got.getParamNames().list() == ["ombh2", "tau", "H0"]


def test_netcdf_keeps_every_draw_of_every_walker(
    tmp_path: Path, chains: list[Chain], samples: Samples
) -> None:
    """Read without ArviZ, by xarray alone: two groups, dimensions chain and draw."""
    write_arviz(tmp_path / "fit.nc", samples)
    assert [p.name for p in tmp_path.iterdir()] == ["fit.nc"]
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as tree:
        posterior, stats = tree["posterior"], tree["sample_stats"]
        assert set(tree.children) == {"posterior", "sample_stats"}
        assert posterior.sizes == {"chain": 32, "draw": len(samples.joined) // 32}
        for number, chain in enumerate(chains):
            own = stats["ensemble"].values[0] == number
            stride = int(chain.tau.min() / 2)
            first = chain.steps // 5  # of thousands of steps of tau 9: more than five tau
            kept = chain.samples[first::stride]
            assert own.sum() == len(kept)
            np.testing.assert_array_equal(posterior["tau"].values[:, own], kept[:, :, 1].T)
            np.testing.assert_array_equal(stats["lp"].values[:, own], chain.log_prob[first::stride].T)
        assert set(posterior.data_vars) == set(samples.names)


def test_arviz_reads_its_file(tmp_path: Path, samples: Samples) -> None:
    write_arviz(tmp_path / "fit.nc", samples)
    arviz, data = arviz_file(tmp_path / "fit.nc")
    summary = arviz.summary(data, fmt="xarray", var_names=["H0"], round_to="none")
    mean, sd = summary["H0"].values[:2]
    # the same numbers summed in another order
    assert mean == pytest.approx(samples.column("H0").mean(), rel=1e-10)
    assert sd == pytest.approx(samples.column("H0").std(ddof=1), rel=1e-10)
    data.close()


def test_ensembles_of_different_numbers_of_walkers_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(SamplerError, match=r"equally many walkers, found \[8, 16\]"):
        collect_samples([autoregressive(rng, 1000, 8), autoregressive(rng, 1000, 16)], [{}, {}], {})


READERS = """
import sys, warnings
warnings.simplefilter("ignore")
import arviz
from chainconsumer import Chain
data = arviz.from_netcdf(sys.argv[1] + ".nc")
found = arviz.ess(data)
found = found["posterior"] if "posterior" in getattr(found, "children", {}) else found
frame = Chain.from_arviz(data, "fit").samples
import anesthetic
read = anesthetic.read_chains(sys.argv[1])
print(arviz.__version__, float(found["ombh2"]), frame["H0"].mean(), len(frame), read.H0.mean(), len(read), sep="\\n")
"""


def interpreters() -> list[str]:
    found = [which(f"python3.{minor}") for minor in (12, 13, 14)]
    return [
        sys.executable,
        *(x for x in found if x),
        *map(str, Path.home().glob(".pyenv/versions/*/bin/python")),
    ]


def works(python: str) -> bool:
    code = "import sys; assert sys.version_info >= (3, 12)"
    return subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.network
def test_arviz_1_anesthetic_and_chainconsumer_read_them(
    tmp_path: Path, chains: list[Chain], samples: Samples
) -> None:
    """In an environment of their own: ArviZ 1 needs Python 3.12, and none of them is installed beside cmbfit."""
    python = next((x for x in interpreters() if works(x)), None)
    if python is None:
        pytest.skip("needs Python 3.12 or later")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    inside = tmp_path / "venv" / "bin" / "python"
    wanted = ("arviz>=1,<2", "h5netcdf", "h5py", "chainconsumer==1.3.0", "anesthetic==2.16.0")
    subprocess.run([inside, "-m", "pip", "install", "-q", *wanted], check=True, timeout=400)
    write_getdist(tmp_path / "fit", samples)
    write_arviz(tmp_path / "fit.nc", samples)
    run = subprocess.run(
        [inside, "-c", READERS, tmp_path / "fit"], check=False, capture_output=True, text=True, timeout=200
    )
    assert run.returncode == 0, run.stderr[-2000:]
    version, found, *numbers = run.stdout.split()[-6:]
    assert version.startswith("1.")
    assert float(found) == pytest.approx(sum(effective_samples(c)[0] for c in chains), rel=0.2)
    mean, n = samples.column("H0").mean(), len(samples.joined)
    # GetDist's text has ten digits
    assert [float(x) for x in numbers] == pytest.approx([mean, n, mean, n], rel=1e-8)
