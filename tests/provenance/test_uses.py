"""What a fit's products depend on: its own data, models and code, and nothing of others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cmbfit
from cmbfit.data import load_registry
from cmbfit.errors import BundleError, CmbfitError
from cmbfit.io import sha256_file
from cmbfit.provenance import codehash
from cmbfit.provenance.uses import Uses, fit_uses

CHECKOUT = Path(cmbfit.__file__).parent.parent
MODEL = """from dataclasses import replace
from cmbfit.theory.primordial.powerlaw import MODEL as LAW
MODEL = replace(LAW, name="mine")
"""
DATASET = """title: mine
kind: mine
sky: {mine: {tt: [2, 3]}}
nuisance: {}
citation: none
"""
MEASURE = """
import json, sys
from types import SimpleNamespace
from cmbfit.likelihood.selection import combinations
from cmbfit.provenance.codehash import code_hash
from cmbfit.provenance.uses import fit_uses
fits = json.loads(sys.argv[1])
out = {name: fit_uses(SimpleNamespace(**fit)).hash() for name, fit in fits.items()}
print(json.dumps({**out, "sampler": code_hash("pipeline.sample_posterior")}))
"""


def uses(data: list[Any], sampler: str = "emcee", **theory: str) -> Uses:
    fit = SimpleNamespace(
        data=data, theory={"emulator": "lcdm_planck2018", **theory}, sampler={"kind": sampler}
    )
    return fit_uses(fit)


def test_a_fit_names_its_own_readers_models_and_registered_sums() -> None:
    got = uses(["planck2018_lowl_ee"], primordial="kink", tensors="tensor_free", sampler="hmc")
    assert [x.rpartition(".")[2] for x in got.modules if "inference" not in x] == [
        "planck_simall:read",
        "kink:MODEL",
        "tensors:FREE",
    ]
    assert any("hmc" in x for x in got.modules)
    table = load_registry()["planck2018_lowE/prob_table.txt"]
    assert got.files[table.name] == table.sha256
    assert set(got.files) == {"data set planck2018_lowl_ee", "emulator lcdm_planck2018", table.name}
    assert "cmbfit.theory.hawking.response:EvaporationTheory" in uses([], evaporation="5e14").modules


def test_a_user_s_files_count_by_their_contents(tmp_path: Path) -> None:
    model, folder = tmp_path / "mine.py", tmp_path / "transfer"
    model.write_text(MODEL)
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    code = tmp_path / "like.py"
    code.write_text("raise RuntimeError('never run to find out')\n")
    data = [{"likelihood": f"{code}:Mine", "width": 2.0}]
    got = uses(data, primordial=str(model), transfer=str(folder))
    assert got.files[str(model)] == sha256_file(model)
    assert got.files[str(code)] == sha256_file(code)
    assert str(folder / "manifest.json") in got.files
    model.write_text(MODEL + "x = 1\n")
    assert uses(data, primordial=str(model), transfer=str(folder)).hash() != got.hash()


def test_unknown_names_stop_and_emulators_still_to_be_trained_do_not() -> None:
    assert not uses([], emulator="results/run/theory/emulator").files
    with pytest.raises(BundleError, match="did you mean 'lcdm_high'"):
        uses([], emulator="lcdm_hihg")
    with pytest.raises(CmbfitError, match="did you mean 'kink'"):
        uses([], primordial="kinkk")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout's code without large arrays of emulators, to be edited."""
    root = tmp_path_factory.mktemp("checkout")
    skip = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for package in ("cmbfit", "pipeline"):
        shutil.copytree(CHECKOUT / package, root / package, ignore=skip)
    (root / "data").mkdir()
    shutil.copy(CHECKOUT / "data" / "registry.yaml", root / "data")
    (root / "pyproject.toml").touch()
    return root


def measured(root: Path, fits: dict[str, Any]) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", MEASURE, json.dumps(fits)]
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_new_data_set_kind_or_model_changes_no_other_fit(copied: Path) -> None:
    def fit(data: list[str], **theory: str) -> dict[str, Any]:
        return {"data": data, "theory": {"emulator": "lcdm_high", **theory}, "sampler": {"kind": "emcee"}}

    fits = {
        "planck": fit(["planck2018"]),
        "kink": fit(["planck_act_spt"], primordial="kink"),
        "bk": fit(["bk18"]),
    }
    before = measured(copied, fits)
    package = copied / "cmbfit"
    datasets, models = package / "likelihood/datasets", package / "theory/primordial"
    (datasets / "mine").mkdir()
    (datasets / "mine/dataset.yaml").write_text(DATASET)
    (datasets / "reader_of_mine.py").write_text("def read(source, options):\n    return None\n")
    (models / "mine.py").write_text(MODEL)
    for path, entry in (
        (datasets / "kinds.py", '"mine": "cmbfit.likelihood.datasets.reader_of_mine:read",'),
        (models / "registry.py", '"mine": "cmbfit.theory.primordial.mine:MODEL",'),
    ):
        text = path.read_text()
        assert text.count("    {\n") == 1
        path.write_text(text.replace("    {\n", f"    {{\n        {entry}\n"))
    with (datasets / "combinations.yaml").open("a") as f:
        f.write("\nmine_too:\n  title: mine\n  data: [mine, planck2018]\n")
    after = measured(copied, fits | {"new": fit(["mine_too"], primordial="mine")})
    assert after.pop("new") not in before.values()
    assert after == before
    # and what a fit uses changes that fit alone
    kink = models / "kink.py"
    kink.write_text(kink.read_text() + "\nX = 1\n")
    lowl = datasets / "planck2018_lowl_tt_2bin/dataset.yaml"
    lowl.write_text(lowl.read_text().replace("0.0025", "0.0026"))
    again = measured(copied, fits)
    assert again["kink"] != before["kink"]
    assert again["planck"] != before["planck"]
    assert (again["bk"], again["sampler"]) == (before["bk"], before["sampler"])


def test_an_altered_response_to_holes_changes_the_hash_of_what_reads_it(copied: Path) -> None:
    def code() -> tuple[str, str]:
        codehash.forget()
        return (
            codehash.code_hash("cmbfit.theory.hawking.response", root=copied),
            codehash.code_hash("cmbfit.theory.spectra", root=copied),
        )

    before = code()
    table = copied / "cmbfit/theory/hawking/injection_response.npz"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    after = code()
    codehash.forget()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_what_a_run_makes_itself_changes_no_hash_when_it_is_made(tmp_path: Path) -> None:
    """A second run of a configuration that trains its emulator has nothing to do."""
    folder = tmp_path / "results/mine/theory/emulator"
    fit = SimpleNamespace(data=["tau_lowe"], theory={"emulator": str(folder)}, sampler={"kind": "emcee"})
    before = fit_uses(fit, tmp_path / "results/mine").hash()
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    assert fit_uses(fit, tmp_path / "results/mine").hash() == before
    assert fit_uses(fit).hash() != before  # of another run it counts
