"""Boltzmann runs that were cut short: each finished one is kept, and is only ever taken up by its own inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbfit.checkpoint import Checkpoint
from cmbfit.errors import DataError, ParameterError, ResumeError
from cmbfit.fit import Fit
from cmbfit.inference.exact import read_exact, settings_of
from cmbfit.inference.products import Samples
from cmbfit.inference.sequential import chosen_rows
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator import trainingset
from cmbfit.theory.emulator.trainingset import compute_points, read_training_set, write_chunk
from cmbfit.theory.parameters import DERIVED, LCDM
from pipeline.compute_theory import compute_theory
from pipeline.train_emulator import train_emulator

BOX = {
    "ombh2": [0.0215, 0.0233], "omch2": [0.112, 0.128], "theta_mc": [1.0389, 1.0429],
    "tau": [0.02, 0.10], "logA": [2.95, 3.14], "ns": [0.94, 0.99],
}  # fmt: skip
DESIGN = {"n_backgrounds": 3, "draws": 2, "per_chunk": 3, "seed": 1, "box": BOX}
CAMB = {"lmax": 60, "lens_potential_accuracy": 1}


class Counted:
    """CAMB, counted; the run of number `stop` is cut short, the one of number `fail` has no solution."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self.run, self.calls, self.stop, self.fail = run, 0, 0, 0

    def __call__(self, *words: Any) -> Any:
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        if self.calls == self.fail:
            raise ParameterError("no solution here")
        return self.run(*words)


def closed_form(settings: CambSettings, background: Mapping[str, float], late: Sequence[Any]) -> Any:
    """Stand for CAMB: D_l that are a formula of the parameters, so that each row tells whose it is."""
    amplitudes = [tuple(x.values()) if isinstance(x, Mapping) else x for x in late]
    rows = np.array([[*background.values(), *x] for x in amplitudes])  # shape: (draws, 6)
    ell = np.arange(settings.lmax + 1)
    dl = np.sin(rows.sum(1)[:, None, None] * np.arange(1, 6)[:, None] + ell)
    return dl, dl[:, :3] / 3, np.tile(rows[:, :1], len(DERIVED))


@pytest.fixture(params=["closed form", pytest.param("camb", marks=pytest.mark.slow)])
def camb_runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(trainingset.spectra_of_one_background if request.param == "camb" else closed_form)
    monkeypatch.setattr(trainingset, "spectra_of_one_background", counted)
    return counted


def chunk(folder: Path, name: str, design: dict[str, Any] = DESIGN, code: str = "now") -> bytes:
    """Run the stage; return the product's bytes."""
    folder.mkdir(exist_ok=True)
    for key, value in (("design", design), ("camb", CAMB)):
        (folder / f"{key}.json").write_text(json.dumps(value), encoding="utf-8")
    output = folder / name
    compute_theory(
        chunk=0,
        output=output,
        code=code,
        checkpoint=folder / "checkpoint",
        design=folder / "design.json",
        camb=folder / "camb.json",
    )
    return output.read_bytes()


def test_a_chunk_that_was_cut_short_goes_on_to_the_same_file(tmp_path: Path, camb_runs: Counted) -> None:
    camb_runs.fail = 2  # a point without a solution is kept as such, and not tried again
    whole = chunk(tmp_path / "whole", "a.npz")
    camb_runs.calls, camb_runs.stop = 0, 3
    with pytest.raises(KeyboardInterrupt):
        chunk(tmp_path / "cut", "a.npz")
    camb_runs.calls, camb_runs.stop, camb_runs.fail = 0, 0, 0
    assert chunk(tmp_path / "cut", "a.npz") == whole
    assert camb_runs.calls == 1
    # published, but the driver that would have noted it is dead: asked for again, it takes no run
    (tmp_path / "cut" / "a.npz").unlink()
    assert chunk(tmp_path / "cut", "a.npz") == whole
    assert camb_runs.calls == 1
    before = camb_runs.calls
    chunk(tmp_path / "cut", "c.npz", code="edited")
    assert camb_runs.calls == before + 3


@pytest.mark.parametrize("camb_runs", ["closed form"], indirect=True)
def test_another_design_in_the_same_folder_is_computed(tmp_path: Path, camb_runs: Counted) -> None:
    for i, change in enumerate(({}, {"seed": 2}, {"box": {**BOX, "ns": [0.95, 0.98]}})):
        chunk(tmp_path, "a.npz", {**DESIGN, **change})
        assert camb_runs.calls == 3 * (i + 1)
        got = read_training_set([tmp_path / "a.npz"])
        expected = np.sin(got.theta.sum(1)[:, None, None] * np.arange(1, 6)[:, None] + np.arange(61))
        # the sum of six numbers in another order
        np.testing.assert_allclose(got.dl, expected, atol=1e-12)
    assert got.theta[:, 5].min() > 0.95


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_damaged_run_is_an_error_by_name(tmp_path: Path, camb_runs: Counted, keep: float) -> None:
    theta = np.array([[0.0224, 0.12, 1.041, 0.055, 3.04, 0.965]])
    assert theta.shape == (1, len(LCDM))
    settings = CambSettings(**CAMB)
    compute_points(theta, settings, lambda _: None, Checkpoint(tmp_path, {"of": "this"}))
    path = tmp_path / "point_0.npz"
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DataError, match=r"point_0\.npz: expected a checkpoint \(damaged"):
        compute_points(theta, settings, lambda _: None, Checkpoint(tmp_path, {"of": "this"}))
    assert camb_runs.calls == 1


@pytest.mark.parametrize("camb_runs", ["closed form"], indirect=True)
@pytest.mark.parametrize(("change", "named"), [
    ({"seed": 2}, r"chunk\.npz: made from other inputs.*design\.seed \(1 -> 2\)"),
    ({}, None),
])  # fmt: skip
def test_a_training_set_of_another_design_is_refused(
    tmp_path: Path, camb_runs: Counted, change: dict[str, Any], named: str | None
) -> None:
    """As an orphan of an earlier configuration publishes it; of this run's design it fails later: three points train nothing."""
    chunk(tmp_path, "chunk.npz")
    assert camb_runs.calls == 3
    design = tmp_path / "now.json"
    design.write_text(json.dumps({**DESIGN, **change}), encoding="utf-8")
    with pytest.raises(ResumeError if named else Exception, match=named) as raised:
        train_emulator(
            chunks=[tmp_path / "chunk.npz"], held_out=0.4, output=tmp_path / "emulator/manifest.json",
            design=design, camb=tmp_path / "camb.json",
        )  # fmt: skip
    assert isinstance(raised.value, ResumeError) == bool(named)


@pytest.mark.parametrize("camb_runs", ["closed form"], indirect=True)
def test_exact_spectra_of_other_points_or_settings_are_refused(tmp_path: Path, camb_runs: Counted) -> None:
    fit = Fit("x", "x", (), {}, {}, {"emulator": "lcdm_planck2018"}, {})
    rows = np.random.default_rng(5).uniform(0.9, 1.1, (40, len(LCDM)))
    chain = Samples(LCDM, [rows], [np.zeros(40)], len(LCDM), {})

    def computed(seed: int, settings: CambSettings) -> list[Path]:
        paths = [tmp_path / f"part{i}.npz" for i in range(2)]
        for i, path in enumerate(paths):
            theta = chain.joined[chosen_rows(chain, 6, [seed])[i::2]]
            write_chunk(path, compute_points(theta, settings, lambda _: None))
        return paths

    right = computed(7, settings_of(fit))
    exact, found = read_exact(right, chain, fit, LCDM, 6, [7])
    np.testing.assert_array_equal(exact.theta, chain.joined[found])
    assert camb_runs.calls == 6
    with pytest.raises(DataError, match=r"part0\.npz: exact spectra of other points than this chain's"):
        read_exact(right, chain, fit, LCDM, 6, [8])
    other = computed(7, replace(settings_of(fit), lens_potential_accuracy=9))
    with pytest.raises(ResumeError, match=r"part0\.npz: .*camb\.lens_potential_accuracy \(.* -> "):
        read_exact(other, chain, fit, LCDM, 6, [7])
