"""`cmbfit emulator`: train, info, evaluate and finetune on chunks of the made-up universe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import CmbfitError, ConfigError, DataError
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.trainingset import TrainingSet, write_chunk
from cmbfit.theory.parameters import LCDM
from tests.theory.synthetic import LMAX, Universe

FIT = {
    "degree": 2,
    "weights": [1] * 6,
    "lowl_degree": 2,
    "lowl_weights": [1] * 6,
    "coordinates": "tau",
    "cmb_components": 5,
    "lensing_components": 5,
    "bb_components": 5,
    "unlensed_components": 0,
}
CAMB = {"lmax": LMAX}


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["emulator", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base emulator, the chunk it was trained on and a chunk that varies nnu."""
    folder = tmp_path_factory.mktemp("emulator")
    universe, rng = Universe(np.random.default_rng(7)), np.random.default_rng(8)
    box = {name: list(limits) for name, limits in LCDM_BOX.items()}
    theta = universe.theta(80)
    record = {"design": {"n_backgrounds": 40, "box": box}, "camb": CAMB}
    write_chunk(
        folder / "chunk.npz",
        TrainingSet(theta, *universe.training_arrays(theta), np.arange(80) // 2, [], record),
    )
    extended = np.column_stack([theta, rng.uniform(2, 4, 80)])
    dl, bare, derived = universe.training_arrays(theta)
    factor = (1 + 0.01 * (extended[:, 6] - 3.044))[:, None, None]
    design = {**record["design"], "extension": {"nnu": [2.0, 4.0]}}
    write_chunk(
        folder / "nnu.npz",
        TrainingSet(
            extended,
            dl * factor,
            bare * factor,
            derived,
            np.arange(80) // 2,
            [],
            {"design": design, "camb": CAMB},
            (*LCDM, "nnu"),
        ),
    )
    run("train", folder / "chunk.npz", "-o", folder / "base", "--fit", json.dumps(FIT))
    return folder


def test_info_and_evaluate_describe_the_trained_bundle(folder: Path) -> None:
    text = run("info", folder / "base")
    assert "version 2" in text
    assert "tau: 0.02 to 0.15" in text
    record = json.loads(run("evaluate", folder / "base", folder / "chunk.npz"))
    assert record["n_points"] == 80
    assert max(record["sigma_cv"]["tt"]) < 1e-4  # quadratic spectra, quadratic emulator


def test_finetune_extends_it(folder: Path) -> None:
    """The effect, D times (1 + 0.01 e), is e times a nearly linear function of the rest."""
    words = ("--method", "quadratic", "--held-out", "0.5")
    run("finetune", folder / "nnu.npz", "-o", folder / "nnu", "--base", folder / "base", *words)
    assert load_emulator(folder / "nnu").parameters == (*LCDM, "nnu")
    record = json.loads(run("evaluate", folder / "nnu", folder / "nnu.npz"))
    assert record["sigma_cv"]["tt"][2] < 0.02  # without the extension: 0.01 / (2 / (2 l + 1))^1/2 up to 0.09


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["evaluate", "base", "nnu.npz"], DataError, "compare like with like"),
        (["finetune", "chunk.npz", "-o", "x", "--base", "base"], DataError, "vary an extension"),
        (
            ["finetune", "nnu.npz", "-o", "x", "--base", "base", "--method", "best"],
            ConfigError,
            "a method of",
        ),
        (["train", "chunk.npz", "-o", "x", "--fit", "{"], ConfigError, "expected a JSON object"),
        (
            ["train", "chunk.npz", "-o", "x", "--fit", '{"size": 3}'],
            ConfigError,
            "unknown emulator fit setting",
        ),
        (["train", "nnu.npz", "-o", "x"], DataError, "fine-tune one"),
        (["info", "no_such"], CmbfitError, "unknown emulator"),
    ],
)
def test_bad_input_is_refused(folder: Path, words: list[str], error: type[Exception], message: str) -> None:
    placed = [folder / w if w in ("base", "x") or w.endswith(".npz") else w for w in words]
    with pytest.raises(error, match=message):
        run(*placed)
    assert not (folder / "x").exists()
