"""The entry points of training, from chunks to figures, on the made-up universe."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cmbfit.io import write_json
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.trainingset import TrainingSet, write_chunk
from cmbfit.theory.parameters import LCDM
from pipeline.__main__ import main
from tests.theory.synthetic import LMAX, Universe

BOX = {name: list(limits) for name, limits in LCDM_BOX.items()}
FIT = {"coordinates": "tau", "cmb_components": 5, "lensing_components": 5, "bb_components": 5,
       "unlensed_components": 0}  # fmt: skip
CANDIDATES = [{"degree": 1, "weights": [1] * 6}, {"degree": 2, "weights": [1] * 6}]


def stage(name: str, *words: str | Path) -> None:
    assert main([name, *map(str, words)]) == 0


def rows(stem: Path) -> list[dict[str, str]]:
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    with stem.with_suffix(".csv").open() as f:
        return list(csv.DictReader(f))


@pytest.fixture
def chunks(tmp_path: Path) -> tuple[Path, Path]:
    """A chunk of 70 backgrounds with two draws (the last 10 of a focus), and one that varies mnu."""
    universe, rng = Universe(np.random.default_rng(7)), np.random.default_rng(8)
    theta, background = universe.theta(140), np.arange(140) // 2
    base = {"design": {"n_backgrounds": 60, "n_focus": 10, "box": BOX}, "camb": {"lmax": LMAX}}
    dl, bare, derived = universe.training_arrays(theta)
    write_chunk(tmp_path / "lcdm.npz", TrainingSet(theta, dl, bare, derived, background, [], base))
    mnu = rng.uniform(0, 0.6, 140)
    factor = (1 - 0.05 * (mnu - 0.06))[:, None, None]
    extended = {
        "design": {"n_backgrounds": 70, "box": BOX, "extension": {"mnu": [0.0, 0.6]}},
        "camb": base["camb"],
    }
    runs = TrainingSet(np.column_stack([theta, mnu]), dl * factor, bare * factor, derived, background, [],
                       extended, (*LCDM, "mnu"))  # fmt: skip
    write_chunk(tmp_path / "mnu.npz", runs)
    return tmp_path / "lcdm.npz", tmp_path / "mnu.npz"


@pytest.mark.slow
def test_from_chunks_to_figures(chunks: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="the optional dependency optuna")
    lcdm, mnu = chunks
    held = ("--held-out", "0.1")
    kept = ("--code", "now", "--checkpoint", tmp_path / "checkpoint")

    def section(name: str, value: object) -> Path:
        write_json(tmp_path / f"{name}.section.json", value)
        return tmp_path / f"{name}.section.json"

    search, bundle, comparison = (
        tmp_path / "search.json",
        tmp_path / "base/manifest.json",
        tmp_path / "comparison.json",
    )

    stage("search_emulator", "--chunks", lcdm, "--fit", section("fit", FIT),
          "--candidates", section("candidates", CANDIDATES), *held, *kept, "--output", search)  # fmt: skip
    record = json.loads(search.read_text())
    assert record["chosen"]["degree"] == 2  # what the spectra are made of
    assert record["power_law"]["cmb"]["exponent"] < -0.5  # 1e-5 with all spectra, 0.1 with an eighth of them
    stage("plot_search", "--search", search, "--output", tmp_path / "search.png")
    assert [r["kind"] for r in rows(tmp_path / "search")].count("candidate") == 2

    stage("train_emulator", "--chunks", lcdm, "--search", search, *held, "--output", bundle)
    network = {"trials": 1, "trial_steps": 20, "steps": 60}
    stage("compare_emulators", "--emulator", bundle, "--chunks", lcdm, *held,
          "--network", section("network", network), *kept, "--output", comparison)  # fmt: skip
    models = json.loads(comparison.read_text())["models"]
    assert set(models["polynomial"]["errors"]) == {"box", "focus"}
    assert models["polynomial"]["errors"]["box"]["tt"][1] < 1e-3 < models["network"]["errors"]["box"]["tt"][1]
    stage("plot_emulators", "--comparison", comparison, "--output", tmp_path / "comparison.png")
    table = rows(tmp_path / "comparison")
    shown = [r for r in table if (r["model"], r["part"], r["pair_or_step"]) == ("network", "focus", "ee")]
    assert float(shown[0]["max_or_validation"]) == models["network"]["errors"]["focus"]["ee"][2]
    assert sum(r["part"] == "loss" for r in table) == 2 * len(models["network"]["history"]["step"])

    stage("compare_finetuning", "--base", bundle, "--chunks", mnu, *held, *kept, "--methods", "quadratic",
          "--table", tmp_path / "curve.json", "--output", tmp_path / "finetuning.png")  # fmt: skip
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [row["runs"] for row in curve] == [20, 30, 62, 126]
    assert [float(r["tt_99"]) for r in rows(tmp_path / "finetuning")] == [r["errors"]["tt"][1] for r in curve]
    stage("finetune_emulator", "--base", bundle, "--chunks", mnu, *held,
          "--output", tmp_path / "mnu/manifest.json")  # fmt: skip
    assert load_emulator(tmp_path / "mnu").parameters == (*LCDM, "mnu")
