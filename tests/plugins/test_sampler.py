"""A sampler of one's own is one file, named in a fit; or a package that registers it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbfit.errors import CodeNotAllowedError, ConfigError
from cmbfit.fit import Fit, load_run
from cmbfit.inference.sampling import sample
from cmbfit.provenance.uses import fit_uses
from cmbfit.registry import entry_points
from tests.inference.toy import COVARIANCE, MEAN, SIGMA, GaussianToy

from .change import Change, cmbfit
from .samples import IMPORTANCE


def toy_fit(**sampler: Any) -> Fit:
    """A fit that starts a sigma off the toy's mean."""
    start = {p: (m + s, s) for p, m, s in zip(GaussianToy.parameters, MEAN, SIGMA, strict=True)}
    return Fit("toy", "toy", (), {}, start, {}, sampler)


def require_right(samples: np.ndarray, n_effective: float) -> None:
    """Hold means, widths and correlations against the known Gaussian, within five statistical errors."""
    mean, covariance = samples.mean(0), np.cov(samples.T)
    np.testing.assert_array_less(np.abs(mean - MEAN) / SIGMA, 5 / np.sqrt(n_effective))
    off = (covariance - COVARIANCE) / np.outer(SIGMA, SIGMA)
    # a covariance of correlation r has the variance (1 + r^2)/n
    np.testing.assert_array_less(np.abs(off), 5 * np.sqrt(2 / n_effective))


def test_one_file_adds_a_sampler_that_samples(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    change.write("mysampler.py", IMPORTANCE)
    assert len(change.files) == 1
    fit: Any = toy_fit(kind="./mysampler.py", draws=40_000, keep=4000, width=2.0)
    toy: Any = GaussianToy()
    with pytest.raises(CodeNotAllowedError, match=r"mysampler\.py: .*cmbfit trust .*--allow-code"):
        sample(toy_posterior(toy), fit, [7, 0], "checkpoint", "code", progress=False)
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    chain, record = sample(toy_posterior(toy), fit, [7, 0], "checkpoint", "code", progress=False)
    assert chain.kind == "importance"
    assert chain.samples.shape == (4000, 1, 3)
    # draws with replacement out of a weighted set: both numbers limit
    n_effective = 1 / (1 / 4000 + 1 / (chain.acceptance * 40_000))
    assert n_effective > 1000
    require_right(chain.samples[:, 0], n_effective)
    assert len(record["sampler_code"]) == 64
    # all randomness is the seed's
    again, _ = sample(toy_posterior(toy), fit, [7, 0], "checkpoint", "code", progress=False)
    np.testing.assert_array_equal(again.samples, chain.samples)
    other, _ = sample(toy_posterior(toy), fit, [7, 1], "checkpoint", "code", progress=False)
    assert not np.array_equal(other.samples, chain.samples)


def toy_posterior(toy: Any) -> Any:
    """The toy with what a record of a chain asks of a posterior."""
    toy.settings = lambda: {"kind": "toy"}
    toy.fold_difference, toy.not_folded = None, None
    return toy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kep": 10}, r"fits\.mine\.sampler\.kep: unknown setting of the sampler \./mysampler\.py 'kep'; did you mean"),
        ({"walkers": 8}, r"fits\.mine\.sampler\.walkers: unknown setting"),
        ({"keep": 10.0}, r"fits\.mine\.sampler\.keep: expected a whole number, found 10\.0"),
        ({"keep": 0}, r"fits\.mine\.sampler\.keep: expected 1 to draws \(20000\), found 0"),
    ],
)  # fmt: skip
def test_its_settings_are_checked_by_name(change: Change, settings: dict[str, Any], message: str) -> None:
    change.write("mysampler.py", IMPORTANCE)
    sampler = {"kind": "./mysampler.py", **settings}
    config = change.configure(fits={"mine": {"data": ["tau_lowe"], "sampler": sampler}})
    result = cmbfit("fit", config, "--allow-code")
    assert isinstance(result.exception, ConfigError)
    with pytest.raises(ConfigError, match=message):
        raise result.exception


def test_check_names_it_and_its_content_is_in_the_fit_s_hash(change: Change) -> None:
    change.write("mysampler.py", "raise SystemExit('ran')\n")
    fits = {
        "mine": {"data": ["tau_lowe"], "sampler": {"kind": "./mysampler.py"}},
        "other": {"data": ["tau_lowe"]},
    }
    config = change.configure(fits=fits)
    result = cmbfit("check", config)
    assert result.exit_code == 0, result.output
    assert "fit mine: not looked into, since that needs your own code: ./mysampler.py" in result.stdout
    mine, other = toy_fit(kind="./mysampler.py"), load_run([config], fits=["other"]).fits["other"]
    before = fit_uses(mine).hash(), fit_uses(other).hash()
    change.write("mysampler.py", "raise SystemExit('ran again')\n")
    assert fit_uses(mine).hash() != before[0]
    assert fit_uses(other).hash() == before[1]


def test_a_package_registers_it_by_an_entry_point(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed needs no leave; the wheel's metadata are its installer's affair, not a file of the change."""
    site = tmp_path / "site"
    info = site / "weights-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "weights_of_mine.py").write_text(IMPORTANCE, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: weights\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cmbfit.samplers]\nweights = weights_of_mine:SAMPLER\n")
    monkeypatch.syspath_prepend(str(site))
    entry_points.cache_clear()
    try:
        for kind in ("weights", "weights_of_mine:SAMPLER"):
            fit = toy_fit(kind=kind, draws=2000, keep=100)
            chain, record = sample(toy_posterior(GaussianToy()), fit, [7, 0], "c", "code", progress=False)
            assert chain.kind == "importance"
            assert "sampler_code" not in record
        config = change.configure(fits={"mine": {"data": ["tau_lowe"], "sampler": {"kind": "weights"}}})
        run = load_run([config])
        # its code is in the hash though no file of the fit names it
        assert "weights_of_mine:SAMPLER" in fit_uses(run.fits["mine"]).modules
        wrong = {"data": ["tau_lowe"], "sampler": {"kind": "weights", "walkers": 8}}
        change.configure(fits={"mine": wrong})
        with pytest.raises(ConfigError, match="unknown setting of the sampler weights 'walkers'"):
            load_run([config])
    finally:
        entry_points.cache_clear()
        sys.modules.pop("weights_of_mine", None)
    # an import path that nobody registered needs leave, as any code of the user's
    monkeypatch.syspath_prepend(str(site))
    (info / "entry_points.txt").unlink()
    entry_points.cache_clear()
    with pytest.raises(CodeNotAllowedError, match="expected a name that an installed package registers"):
        load_run(
            [
                change.configure(
                    fits={"mine": {"data": ["tau_lowe"], "sampler": {"kind": "weights_of_mine:SAMPLER"}}}
                )
            ]
        )
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    assert load_run(["run.yaml"]).fits["mine"].sampler == {"kind": "weights_of_mine:SAMPLER"}
    sys.modules.pop("weights_of_mine", None)
