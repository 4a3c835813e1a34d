"""``cmbfit fit`` and ``cmbfit bench likelihood`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import getdist
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.cli.fit import read_fit
from cmbfit.errors import ConfigError
from cmbfit.inference.products import read_chain, read_samples
from cmbfit.report.checks import read_checks
from tests.conftest import ROOT

DEFAULT = ROOT / "pipeline" / "config" / "default.yaml"


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(w) for w in words])


def test_quick_fit_of_planck_is_the_published_one(tmp_path: Path) -> None:
    """Best fit and normal errors against Planck 2018 VI table 2 (TT,TE,EE+lowE)."""
    result = run("fit", DEFAULT, "--quick", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    quick = json.loads((tmp_path / "quick.json").read_text(encoding="utf-8"))
    published = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))["fits"]["lcdm_planck2018"]["reference"]
    for name, row in quick["parameters"].items():
        if name not in published["parameters"]:
            continue
        mean, sigma = published["parameters"][name]
        # a mode is not a mean, and the low-l likelihoods differ: 0.3 sigma; widths within 15%
        assert row["best"] == pytest.approx(mean, abs=0.3 * sigma), name
        assert row["sigma"] == pytest.approx(sigma, rel=0.15), name
    assert quick["derived"]["H0"] == pytest.approx(67.27, abs=0.3 * 0.60)
    assert quick["agreed"] == quick["starts"] == 4
    assert "ombh2" in result.output


# GetDist 1.7 asks Matplotlib 3.11 for an attribute that 3.13 will not have
@pytest.mark.filterwarnings("default::matplotlib.MatplotlibDeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["emcee", "hmc"])
def test_a_whole_fit_gives_the_products_of_the_workflow(tmp_path: Path, sampler: str) -> None:
    result = run("fit", DEFAULT, "--sampler", sampler, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    name = "lcdm_planck2018"
    summary = json.loads((tmp_path / "chains" / f"{name}.summary.json").read_text(encoding="utf-8"))
    assert summary["convergence"]["sampler"] == sampler
    assert summary["convergence"]["effective_samples_min"] > 10_000
    checks = read_checks([tmp_path / "checks.json"])
    assert len(checks) > 10
    assert all(c["pass"] for c in checks)
    samples = read_samples(tmp_path / "chains" / f"{name}.samples.h5")
    chain, settings = read_chain(tmp_path / "chains" / f"{name}.ensemble1.h5")
    assert chain.kind == sampler
    assert settings["not_folded"] is None
    got = getdist.loadMCSamples(
        str(tmp_path / "chains" / "getdist" / name / name), settings={"ignore_rows": 0}, no_cache=True
    )
    assert got.mean("H0") == pytest.approx(samples.column("H0").mean(), rel=1e-6)
    for product in (f"{name}.samples.h5", f"{name}.nc", f"getdist/{name}"):
        record = json.loads((tmp_path / "chains" / f"{product}.json").read_text(encoding="utf-8"))
        assert set(record["inputs"]) == {f"chains/{name}.ensemble{i}.h5" for i in range(2)}
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("a: [", (), "mine.yaml, line"),
        ("- 1", (), "expected sections such as run, fits and theory"),
        ("{}", ("--fit", "lcdm_planck2019"), "did you mean 'lcdm_planck2018'"),
        ("{theory: {emulator: {bundle: null}}}", (), "theory.emulator"),
        ("{}", ("--sampler", "gibbs"), "unknown sampler 'gibbs' (known: emcee, hmc, nested, tempered)"),
        ("{likelyhood: 3}", (), "top level: unknown key 'likelyhood'; did you mean 'likelihood'"),
        (
            "{fits: {lcdm_planck2018: {prior: {}}}}",
            (),
            "fits.lcdm_planck2018: unknown key 'prior'; did you mean 'priors'",
        ),
        ("{theory: {emulator: {bundel: x}}}", (), "unknown key 'bundel'"),
        ("{}", ("--config", "fits.lcdm_planck2018.ensembels=3"), "did you mean 'ensembles'"),
    ],
)
def test_mistakes_are_typed_errors(tmp_path: Path, text: str, words: tuple[str, ...], message: str) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(text, encoding="utf-8")
    result = run("fit", config, *words, "-o", tmp_path / "out")
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_another_sampler_has_its_own_defaults(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("fits: {lcdm_planck2018: {ensembles: 3}}", encoding="utf-8")
    run, fit = read_fit(str(config), ["run.seed=5"], None, sampler="hmc")
    assert (run.seed, fit.ensembles, fit.sampler) == (5, 3, {"kind": "hmc"})
    assert read_fit("default", None, None, sampler="emcee")[1].sampler["walkers"] == 128


def test_benchmark_counts_evaluations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a clock that stands at a microsecond a call, rates follow from the number of points alone."""
    from cmbfit.cli import bench

    ticks = iter(np.arange(1e6) * 1e-3)
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(ticks))
    # the first reading starts the clock; each check reads it once: three calls in 3 ms, then the fourth reading
    assert bench._rate(lambda: None, 100, 0.0035) == pytest.approx(3 * 100 / 4e-3)
    monkeypatch.undo()
    output = tmp_path / "bench.json"
    result = run(
        "bench", "likelihood", "--batch", 2, "--rounds", 1, "--seconds", 0.01, "--threads", 1, "-o", output
    )
    assert result.exit_code == 0, result.output
    record = json.loads(output.read_text(encoding="utf-8"))
    assert [row["batch"] for row in record["rows"]] == [2]
    assert min(record["rows"][0]["per_s"], record["rows"][0]["with_gradient_per_s"]) > 0
    assert record["fold_difference"] < 1e-6
