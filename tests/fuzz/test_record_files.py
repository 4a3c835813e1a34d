"""Records that people hand on: a finished run (RO-Crate, summary, configuration, code), descriptions, lists of trust."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cmbfit import data as data_module
from cmbfit import trust
from cmbfit.cli.spectra_inputs import make_bins
from cmbfit.config import load_config
from cmbfit.data import load_registry
from cmbfit.fit.description import Fit
from cmbfit.fit.run import complete_run
from cmbfit.fit.theory import transfer_folder_box
from cmbfit.inference.model_config import Model
from cmbfit.io import read_json
from cmbfit.likelihood.datasets.catalog import description
from cmbfit.likelihood.selection import read_words
from cmbfit.provenance import reproduce
from cmbfit.provenance.citations import bibtex
from cmbfit.report.checks import read_checks
from cmbfit.sky.pixelisation import Healpix
from cmbfit.theory.emulator.family import emulator_box
from cmbfit.theory.transfer.region import CENTRE
from tests.fuzz.damage import damaged, damaged_tree, plain
from tests.fuzz.judge import judge
from tests.provenance.test_crate import run  # noqa: F401 (a fixture)

RECORDS = ("summary.json", "ro-crate-metadata.json", "workflow/config.json", "workflow/code.json")


def _tree(draw: Callable[..., Any], good: Any) -> bytes:
    """A damaged tree as JSON, sometimes damaged as text instead."""
    if draw(st.integers(0, 4)):
        return json.dumps(plain(draw(damaged_tree(good)))).encode()
    return draw(damaged(json.dumps(good).encode()))


@pytest.fixture
def record(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A finished run; what compares it reads the checkout's registry and configuration once."""
    monkeypatch.setattr(data_module, "load_registry", cache(load_registry))
    monkeypatch.setattr(reproduce, "read_config_file", cache(reproduce.read_config_file))
    known: dict[str, str] = {}
    hashed = reproduce.code_hash

    def code_hash(*modules: Any, **how: Any) -> str:
        key = repr((modules, how))
        if key not in known:
            known[key] = hashed(*modules, **how)
        return known[key]

    monkeypatch.setattr(reproduce, "code_hash", code_hash)
    assert reproduce.compare(run) == []
    return run


@given(st.data())
def test_record_of_a_run(record: Path, data: st.DataObject) -> None:
    """What reproduce and cite make of it, and that they hash nothing outside the folder."""
    good = {name: _good(record / name) for name in RECORDS}
    name = data.draw(st.sampled_from(RECORDS))
    (record / name).write_bytes(_tree(data.draw, copy.deepcopy(good[name])))
    try:
        judge("record of a run", lambda: _repeat(record))
        judge("citations of a run", lambda: bibtex(read_json(record / "summary.json")))
    finally:
        (record / name).write_text(json.dumps(good[name]))


def _good(path: Path) -> Any:
    return json.loads(path.read_text())


def _repeat(folder: Path) -> None:
    found = [str(d) for d in reproduce.compare(folder)]
    lines = reproduce.instructions(folder, read_json(folder / "summary.json"))
    assert all(isinstance(x, str) for x in [*found, *lines])


@cache
def _fit() -> dict[str, Any]:
    fit = next(iter(complete_run(load_config(["default"])).fits.values()))
    return json.loads(json.dumps(fit.describe()))


@given(st.data())
def test_descriptions(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.json"
    model = {"name": "m", "title": "M", "fit": _fit(), "fixed": {"tau": 0.05}, "nests": {}}
    if data.draw(st.booleans()):
        path.write_bytes(_tree(data.draw, _fit()))
        judge("description of a fit", lambda: Fit.read(path))
    else:
        value = plain(data.draw(damaged_tree(model)))
        judge("description of a model", lambda: Model.from_json(value))


CHECK = {"name": "a", "value": 1.0, "tolerance": 2.0, "pass": True, "comment": ""}
SMALL: dict[str, tuple[Any, Callable[[Path], object]]] = {
    "checks": ({"checks": [CHECK, CHECK]}, lambda p: read_checks([p])),
    "list of trust": ({"schema": 1, "files": {"/a/b.py": "0" * 64}}, lambda _: trust.trusted()),
}


@pytest.mark.parametrize("name", SMALL)
@given(st.data())
def test_small_records(name: str, tmp_path: Path, data: st.DataObject) -> None:
    good, read = SMALL[name]
    path = tmp_path / "cmbfit" / "trusted.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(_tree(data.draw, good))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        judge(name, lambda: read(path))


@given(damaged(b"2\n30\n60\n100\n"))
def test_bin_edges(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bins.txt"
    path.write_bytes(raw)
    judge("bin edges", lambda: make_bins(Healpix(64), None, None, path, "dl"))


@pytest.mark.parametrize("raw", [b"2\ninf\n", b"-inf\n2\n", b"2\n1e300\n", b"2\nnan\n"])
def test_edges_that_are_no_multipoles_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "bins.txt").write_bytes(raw)
    assert not judge("bin edges", lambda: make_bins(Healpix(64), None, None, tmp_path / "bins.txt", "dl"))


@cache
def _dataset() -> dict[str, Any]:
    return yaml.safe_load(
        (Path(trust.__file__).parent / "likelihood/datasets/tau_lowe/dataset.yaml").read_text()
    )


@given(st.data())
def test_description_of_a_data_set(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "dataset.yaml"
    if data.draw(st.integers(0, 4)):
        path.write_text(yaml.dump(data.draw(damaged_tree(_dataset()))))
    else:
        path.write_bytes(data.draw(damaged(yaml.dump(_dataset()).encode())))
    judge("description of a data set", lambda: description(str(path)))


@given(st.data())
def test_words_of_data(tmp_path: Path, data: st.DataObject) -> None:
    """`--data` on a command line: YAML in braces, and files that may be of several kinds."""
    if data.draw(st.booleans()):
        word = data.draw(damaged(b"{planck2018_plik_lite_tt: {cuts: {tt: [30, 900]}}}")).decode(
            "utf-8", "replace"
        )
    else:
        path = tmp_path / "mine.yaml"
        path.write_bytes(data.draw(damaged(yaml.dump(_dataset()).encode())))
        word = str(path)
    judge("words of --data", lambda: read_words([word]))


@given(st.data())
def test_boxes(tmp_path: Path, data: st.DataObject) -> None:
    """What a plan reads of a bundle and of transfer functions: their manifests alone."""
    bundle = {"box": {"ombh2": [0.02, 0.025], "tau": [0.02, 0.1]}, "settings": {}, "arrays_sha256": "0" * 64}
    transfer = {"settings": {"centre": dict.fromkeys(CENTRE, 1.0), "steps": dict.fromkeys(CENTRE, 0.1)}}
    for good, read in ((bundle, emulator_box), (transfer, transfer_folder_box)):
        (tmp_path / "manifest.json").write_bytes(_tree(data.draw, good))
        judge("boxes of manifests", lambda read=read: read(str(tmp_path)))  # type: ignore[misc]
