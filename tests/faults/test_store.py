"""Unfinished work is only ever taken up by what made it: attacks on the one store, each with its answer in closed form."""

from __future__ import annotations

import json
import logging
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbfit.checkpoint import Checkpoint
from cmbfit.errors import ConfigError, DataError, ResumeError
from cmbfit.fit import Fit
from cmbfit.inference import nested
from cmbfit.inference.chain import Chain
from cmbfit.inference.evidence import EvidenceTask, measure_evidence
from cmbfit.inference.nested import NestedSettings, run_nested
from cmbfit.inference.samplers import Start
from cmbfit.inference.sampling import sample
from cmbfit.likelihood import Posterior, Uniform
from tests.conftest import ROOT
from tests.inference.test_ensemble import SHORT, start
from tests.inference.test_ensemble import run as run_toy
from tests.inference.test_model_table import SCALE, START, closed_form, problem
from tests.inference.toy import GaussianToy

QUICK = NestedSettings(n_live=50, n_effective=200, batch=128, networks=0)
SECTION = {"method": "nested", "n_live": 50, "n_effective": 200}


def nested_problem(seed: int = 3, width: float = 6.0) -> tuple[Posterior, float]:
    """A line through data, flat priors of a width, and ln Z; other data under the same name with another seed."""
    posterior = problem(("a", "b"), seed=seed)
    log_z = closed_form(posterior)[3]  # priors of width 6
    half = width / 2
    priors = {p: Uniform(-half, half) for p in posterior.parameters}
    return Posterior(posterior.theory, posterior.likelihoods, priors), log_z - 2 * math.log(width / 6)


def task(posterior: Posterior, folder: Path, seed: int = 1) -> EvidenceTask:
    return EvidenceTask(posterior, Start(START, SCALE), seed, folder=folder)


# other numbers in the same data set; another prior; another noise
OTHERS = {
    "data": lambda: nested_problem(seed=4),
    "prior": lambda: nested_problem(width=60.0),
    "theory": lambda: (problem(), closed_form(problem())[3]),
}


@pytest.mark.parametrize(
    "change", ["data", *(pytest.param(x, marks=pytest.mark.slow) for x in ("prior", "theory"))]
)
def test_a_second_evidence_in_the_same_folder_is_its_own(tmp_path: Path, change: str) -> None:
    """ln Z of each is the closed form's within five errors; the two lie further apart than that."""
    pytest.importorskip("nautilus", reason="the optional dependency nautilus-sampler is not installed")
    first, second = nested_problem(), OTHERS[change]()
    assert abs(first[1] - second[1]) > 1
    for posterior, log_z in (first, second):
        found = measure_evidence(task(posterior, tmp_path), SECTION)
        # two runs of 200 points: 1/sqrt(400) = 0.05 together, five of them
        assert found.log_z == pytest.approx(log_z, abs=0.25)
        assert found.diagnosis["evaluations"] > 0
    # and the first one's checkpoint is still its own: nothing is evaluated again but by importance sampling beside
    again = measure_evidence(task(first[0], tmp_path), SECTION)
    assert again.diagnosis["evaluations"] == 0
    assert again.log_z == pytest.approx(first[1], abs=0.25)


@pytest.mark.slow
def test_another_seed_setting_or_code_samples_anew(tmp_path: Path) -> None:
    pytest.importorskip("nautilus", reason="the optional dependency nautilus-sampler is not installed")
    posterior, log_z = nested_problem()
    first = measure_evidence(task(posterior, tmp_path), SECTION)
    changed = [
        measure_evidence(task(posterior, tmp_path, seed=2), SECTION),
        measure_evidence(task(posterior, tmp_path), {**SECTION, "n_live": 60}),
        measure_evidence(replace(task(posterior, tmp_path), code="edited"), SECTION),
    ]
    for other in changed:
        assert other.diagnosis["evaluations"] > 0
        assert other.log_z == pytest.approx(log_z, abs=0.25)
    assert len({first.log_z, *(x.log_z for x in changed[:2])}) == 3
    assert changed[2].log_z == first.log_z  # the same numbers, sampled again


@pytest.mark.parametrize(
    "sampler",
    [
        {"kind": "nested", "n_live": 50, "n_effective": 400, "networks": 0, "batch": 128},
        pytest.param(
            {"kind": "emcee", "walkers": 16, "block_steps": 200, "tau_multiple": 20, "max_steps": 4000},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"kind": "hmc", "walkers": 32, "warmup_steps": 60, "tau_multiple": 10}, marks=pytest.mark.slow
        ),
    ],
    ids=lambda x: x["kind"],
)
@pytest.mark.parametrize("change", ["data", pytest.param("prior", marks=pytest.mark.slow)])
def test_a_second_fit_in_the_same_folder_is_its_own(
    tmp_path: Path, sampler: dict[str, Any], change: str
) -> None:
    """Each fit's mean is that of least squares; where only the prior changed, its ln Z is."""
    if sampler["kind"] == "nested":
        pytest.importorskip("nautilus", reason="the optional dependency nautilus-sampler is not installed")
    for posterior, log_z in (nested_problem(), OTHERS[change]()):
        begin = dict.fromkeys(posterior.parameters, (0.0, 0.2))
        fit = Fit("toy", "toy", ("toy",), {}, begin, {}, sampler)
        chain, record = sample(posterior, fit, [1, 0], tmp_path, "code", progress=False)
        assert chain.evaluations > 0, "the other fit's chain was taken for this one's"
        assert record["posterior"] == posterior.settings()
        mean, covariance, *_ = closed_form(posterior)
        x = chain.samples[chain.steps // 5 :].reshape(-1, 2)
        # hundreds of independent points: an error of less than 0.1 sigma, four of them; the data differ by 1.4 sigma
        assert (np.abs(x.mean(0) - mean) / np.sqrt(np.diag(covariance)) < 0.4).all()
        if chain.log_z is not None:
            assert chain.log_z == pytest.approx(log_z, abs=0.35)  # 1/sqrt(400) = 0.05, and a chain of one run
    assert len(list(tmp_path.iterdir())) == 2


def test_other_cuts_and_other_numbers_are_other_posteriors() -> None:
    """What a checkpoint and a comparison of models know a data set by."""
    from cmbfit.fit import build_posterior, load_run

    assert problem(seed=3).settings() == problem(seed=3).settings()
    assert problem(seed=3).settings() != problem(seed=4).settings()
    runs = [
        load_run(overrides={"fits": {"lcdm_planck2018": {"data": [{"planck2018_plik_lite_tt": option}]}}})
        for option in ({}, {"cuts": {"tt": [30, 1500]}})
    ]
    whole, cut = (build_posterior(run.fits["lcdm_planck2018"], fold=False).settings() for run in runs)
    assert whole["data"] != cut["data"]


def test_an_identity_that_names_no_posterior_is_refused(tmp_path: Path) -> None:
    """The toy does not describe itself: two of them with the same parameters could not be told apart."""
    from cmbfit.inference.ensemble import run_ensemble

    with pytest.raises(ConfigError, match="a checkpoint needs to know whose it is"):
        run_ensemble(GaussianToy(), start(16), SHORT, 3, tmp_path, {}, progress=False)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def nested_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Chain]:
    """A finished run in a checkpoint's folder, for reading only."""
    pytest.importorskip("nautilus", reason="the optional dependency nautilus-sampler is not installed")
    folder = tmp_path_factory.mktemp("nested")
    return folder, run_nested(nested_problem()[0], QUICK, 1, folder)


def test_a_resume_of_nested_sampling_with_other_inputs_names_them(nested_run: tuple[Path, Chain]) -> None:
    tmp_path = nested_run[0]
    first, other = nested_problem()[0], nested_problem(width=60.0)[0]
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ResumeError, match=r"posterior\.priors\.a\.uniform .*posterior\.priors\.b\.uniform"):
        run_nested(other, QUICK, 1, tmp_path)
    with pytest.raises(ResumeError, match=r"posterior\.data\.toy\.arrays"):
        run_nested(nested_problem(seed=4)[0], QUICK, 1, tmp_path)
    with pytest.raises(ResumeError, match=r"seed \(1 -> 2\)"):
        run_nested(first, QUICK, 2, tmp_path)
    with pytest.raises(ResumeError, match=r"sampler\.n_live \(50 -> 60\)"):
        run_nested(first, replace(QUICK, n_live=60), 1, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damage", [0.0, 0.3, 0.99, "flip"])
def test_a_damaged_nested_checkpoint_is_refused_by_name(
    nested_run: tuple[Path, Chain], tmp_path: Path, damage: float | str
) -> None:
    """Cut off anywhere, or one bit of the points turned: an error with the file's name, never an evidence."""
    posterior = nested_problem()[0]
    shutil.copytree(nested_run[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "nautilus.npz"
    raw = bytearray(path.read_bytes())
    if damage == "flip":
        raw[len(raw) // 2] ^= 1
    else:
        assert isinstance(damage, float)
        raw = raw[: int(damage * len(raw))]
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"nautilus\.npz: expected a checkpoint \(damaged: remove the folder"):
        run_nested(posterior, QUICK, 1, tmp_path)


_CODE = """
import os, signal, sys
from pathlib import Path
import numpy as np
import torch
from cmbfit.inference.nested import run_nested
from cmbfit.likelihood import Posterior
from tests.faults.test_store import QUICK, nested_problem

class Killed(Posterior):
    calls = 0
    def log_prob(self, theta):
        Killed.calls += 1
        if Killed.calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().log_prob(theta)

toy = nested_problem()[0]
toy.__class__ = Killed
print("ready", flush=True)
sys.stdin.readline()
chain = run_nested(toy, QUICK, 1, Path(sys.argv[1]))
np.savez(sys.argv[3], samples=chain.samples, log_z=chain.log_z, evaluations=chain.evaluations)
"""


def nested_process(folder: Path, kill_at: int, out: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", _CODE, str(folder), str(kill_at), str(out)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_nested_run_goes_on_to_the_same_samples(
    nested_run: tuple[Path, Chain], tmp_path: Path
) -> None:
    """SIGKILL in the middle; ln Z and the points are those of an undisturbed run."""
    whole = nested_run[1]
    calls = whole.evaluations // QUICK.batch
    assert calls > 12
    process = nested_process(tmp_path / "cut", calls // 2, tmp_path / "out.npz")
    process.communicate("go\n", timeout=300)
    assert process.returncode == -9
    assert (tmp_path / "cut" / "nautilus.npz").exists()
    toy = nested_problem()[0]
    got = run_nested(toy, QUICK, 1, tmp_path / "cut")
    assert 0 < got.evaluations < whole.evaluations
    np.testing.assert_array_equal(got.samples, whole.samples)
    assert got.log_z == whole.log_z


class _Cut(logging.Handler):
    """Ends a run at the line of its log that says that no ln Z is known."""

    class Here(Exception):  # noqa: N818 (nothing went wrong)
        pass

    def emit(self, record: logging.LogRecord) -> None:
        if "ln Z not known yet" in record.getMessage():
            raise self.Here


def test_a_nested_run_cut_off_between_exploration_and_sampling_goes_on_to_the_same_samples(
    nested_run: tuple[Path, Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exploration's points are discarded then and no new ones are in: nautilus has no ln Z, nor any point."""
    log, cut = logging.getLogger(nested.__name__), _Cut()
    monkeypatch.setattr(nested, "_SAVING", math.inf)  # a checkpoint after every batch, however long one takes
    monkeypatch.setattr(log, "handlers", [cut])
    before = log.level
    log.setLevel(logging.INFO)
    try:
        with pytest.raises(_Cut.Here):
            run_nested(nested_problem()[0], QUICK, 1, tmp_path)
    finally:
        log.setLevel(before)
    monkeypatch.setattr(log, "handlers", [])
    got, whole = run_nested(nested_problem()[0], QUICK, 1, tmp_path), nested_run[1]
    assert 0 < got.evaluations < whole.evaluations
    np.testing.assert_array_equal(got.samples, whole.samples)
    assert got.log_z == whole.log_z


@pytest.mark.slow
def test_an_orphan_and_its_successor_both_end_with_the_same_evidence(
    nested_run: tuple[Path, Chain], tmp_path: Path
) -> None:
    """Two processes write the same nested checkpoint at once."""
    outs = [tmp_path / f"{i}.npz" for i in range(2)]
    both = [nested_process(tmp_path / "both", -1, out) for out in outs]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    whole = nested_run[1]
    for process, out in zip(both, outs, strict=True):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        with np.load(out) as f:
            np.testing.assert_array_equal(f["samples"], whole.samples)
            assert f["log_z"] == whole.log_z


def test_pieces_that_do_not_say_whose_they_are_are_refused(tmp_path: Path) -> None:
    run_toy(tmp_path)
    (tmp_path / "identity.json").unlink()
    with pytest.raises(ResumeError, match=r"no identity\.json that says of what"):
        run_toy(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"seed": 3'])
def test_a_truncated_identity_is_an_error_by_name(tmp_path: Path, text: str) -> None:
    run_toy(tmp_path)
    (tmp_path / "identity.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"identity\.json: expected JSON"):
        run_toy(tmp_path)


def test_what_was_removed_does_not_come_back_in_parts(tmp_path: Path) -> None:
    """The next step took the product in and removed the checkpoint; an orphan that still writes leaves nothing there."""
    store = Checkpoint(tmp_path / "x", {"seed": 1})
    store.put("one", x=[1.0])
    assert json.loads((tmp_path / "x" / "identity.json").read_text(encoding="utf-8")) == {"seed": 1}
    for path in (tmp_path / "x").iterdir():
        path.unlink()
    (tmp_path / "x").rmdir()
    store.put("two", x=[2.0])
    assert not (tmp_path / "x").exists()
