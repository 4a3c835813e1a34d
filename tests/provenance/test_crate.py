"""The RO-Crate of a run, and what `cmbfit reproduce` makes of it."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from rocrate.rocrate import ROCrate
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import DataError
from cmbfit.io import provenance, write_json
from cmbfit.provenance.codehash import code_hash
from cmbfit.provenance.crate import write_crate
from cmbfit.provenance.reproduce import compare
from cmbfit.theory.emulator.manifest import bundle_folder
from tests.report.example import SUMMARY

ROOT = Path(__file__).resolve().parents[2]
WINDOW = "pixel_windows/pixel_window_n0032.fits"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of this checkout, as far as its record goes."""
    folder = tmp_path / "results" / "x"
    settings = yaml.safe_load((ROOT / "pipeline/config/default.yaml").read_text())
    manifest = json.loads((Path(bundle_folder("lcdm_planck2018")) / "manifest.json").read_text())
    summary: dict[str, Any] = copy.deepcopy(SUMMARY)
    summary["provenance"] |= {
        **provenance(settings=settings),
        "data": [
            {
                "name": WINDOW, "sha256": "90d5ebfba312" + "0" * 52, "bytes": 8640, "licence": "GPL-2.0",
                "description": "windows", "citation": ["Zonca et al. (2019), JOSS 4, 1298"],
            }
        ],
    }  # fmt: skip
    from cmbfit.data import load_registry

    summary["provenance"]["data"][0]["sha256"] = load_registry()[WINDOW].sha256
    summary["provenance"]["emulator"]["arrays_sha256"] = manifest["arrays_sha256"]
    write_json(folder / "summary.json", summary)
    write_json(folder / "chains" / "lcdm.summary.json", {"a": 1})
    write_json(folder / "chains" / "gone.summary.json", {"a": 2})  # of an earlier configuration
    (folder / "logs").mkdir()
    (folder / "logs" / "x.log").write_text("")
    (folder / "workflow").mkdir()
    shutil.copy(ROOT / "Snakefile", folder / "workflow" / "Snakefile")
    write_json(folder / "workflow" / "config.json", settings)
    record = {"modules": ["pipeline.gate"], "registered": True}
    value = code_hash("pipeline.gate", registered=True, root=ROOT)
    write_json(folder / "workflow" / "code.json", {"gate": {**record, "hash": value}})
    write_crate(folder, summary, started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:07:00+00:00")
    return folder


def test_the_crate_says_what_went_in_and_what_came_out(run: Path) -> None:
    crate = ROCrate(run)
    action = crate.get("#run")
    assert action.type == "CreateAction"
    assert action["instrument"].id == crate.mainEntity.id == "workflow/Snakefile"
    assert {"https://w3id.org/ro/wfrun/workflow/0.5", "https://w3id.org/ro/wfrun/process/0.5"} <= {
        e.id for e in crate.root_dataset["conformsTo"]
    }
    results = {e.id: e for e in action["result"]}
    assert set(results) == {"chains/lcdm.summary.json", "summary.json"}  # logs are no products
    found = results["chains/lcdm.summary.json"]
    assert found["sha256"] == hashlib.sha256((run / found.id).read_bytes()).hexdigest()
    assert found["description"] == "written by the rule publish_chains"
    inputs = {e["name"]: e for e in action["object"]}
    assert inputs[WINDOW]["sha256"].startswith("90d5ebfba312")
    # every key of the configuration, the seed among them, is a parameter with its value
    assert inputs["run.seed"]["value"] == "20260101"
    assert inputs["run.seed"]["exampleOfWork"].type == "FormalParameter"
    software = {e["name"]: e["version"] for e in crate.mainEntity["softwareRequirements"]}
    assert {"numpy", "torch", "camb", "python", "cmbfit"} <= set(software)
    cited = {e.id: e for e in crate.root_dataset["citation"]}
    assert cited["https://doi.org/10.21105/joss.01298"].type == "ScholarlyArticle"
    # words that references.bib does not know are cited too
    assert {e["name"] for e in cited.values() if e.type == "CreativeWork"} == {"c"}


def test_the_crate_has_what_the_profiles_recommend(run: Path) -> None:
    """Workflow Run Crate 0.5 with Workflow RO-Crate 1.0 and RO-Crate 1.1: what their text says SHOULD be there."""
    (run / "README.md").write_text("# A run\n", encoding="utf-8")
    summary = json.loads((run / "summary.json").read_text())
    summary["provenance"]["settings"]["run"]["author"] = "The Example Collaboration"
    write_crate(run, summary, started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:07:00+00:00")
    raw = json.loads((run / "ro-crate-metadata.json").read_text())
    entities = {e["@id"]: e for e in raw["@graph"]}
    root = entities["./"]
    assert {e["@id"] for e in root["conformsTo"]} == {
        "https://w3id.org/ro/wfrun/process/0.5",
        "https://w3id.org/ro/wfrun/workflow/0.5",
        "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
    }
    for key in ("author", "publisher"):
        assert entities[root[key]["@id"]]["name"] == "The Example Collaboration"
        assert entities[root[key]["@id"]]["@type"] == "Organization"
    assert entities["#run"]["agent"] == root["author"]
    workflow = entities["workflow/Snakefile"]
    assert "bioschemas.org/profiles/ComputationalWorkflow" in workflow["conformsTo"]["@id"]
    assert workflow["encodingFormat"]
    assert workflow["url"]
    assert (entities["README.md"]["about"], entities["README.md"]["encodingFormat"]) == (
        {"@id": "./"},
        "text/markdown",
    )
    kinds = {e["@id"]: e["@type"] for e in raw["@graph"]}
    software = [i for i, kind in kinds.items() if kind == "SoftwareApplication"]
    assert len(software) > 5
    assert all(i.startswith("https://") for i in software)
    files = [e for e in raw["@graph"] if "File" in e["@type"]]
    assert all(e["encodingFormat"] for e in files)
    # a list of one is its one
    lists = [(e["@id"], k) for e in raw["@graph"] for k, v in e.items() if isinstance(v, list) and len(v) < 2]
    assert lists == []


def test_no_dangling_reference_in_the_crate(run: Path) -> None:
    graph = json.loads((run / "ro-crate-metadata.json").read_text())["@graph"]
    known = {e["@id"] for e in graph}
    assert len(known) == len(graph)

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            return {value["@id"]} if set(value) == {"@id"} else set().union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) and value else set()

    wanted = set().union(*(references({k: v for k, v in e.items() if k != "@id"}) for e in graph))
    assert {w for w in wanted if not w.startswith("https://")} <= known


def test_this_checkout_would_repeat_its_own_run(run: Path) -> None:
    assert compare(run) == []
    result = CliRunner().invoke(app, ["reproduce", str(run)])
    assert result.exit_code == 0, result.output
    assert "would repeat the run exactly" in result.output
    assert "seed 20260101" in result.output


def test_every_difference_is_named(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, config = run / "workflow" / "code.json", run / "workflow" / "config.json"
    stages = {"gate": "0" * 16, "gone": "1" * 16}
    record = {n: {"modules": [f"pipeline.{n}"], "registered": True, "hash": h} for n, h in stages.items()}
    write_json(code, record)
    settings = json.loads(config.read_text())
    del settings["run"]["seed"]  # a key that the default has since gained
    write_json(config, settings)
    (run / "chains" / "lcdm.summary.json").write_text("{}")
    summary = json.loads((run / "summary.json").read_text())
    summary["provenance"]["data"][0]["sha256"] = "f" * 64
    summary["provenance"]["emulator"]["arrays_sha256"] = "e" * 64
    summary["provenance"]["packages"]["numpy"] = "1.0"
    write_json(run / "summary.json", summary)
    found = {(d.what, d.name): d for d in compare(run)}
    assert set(found) == {
        ("results", "chains/lcdm.summary.json"), ("results", "summary.json"), ("code", "gate"),
        ("code", "gone"), ("configuration", "run.seed"), ("data", WINDOW),
        ("emulator", "lcdm_planck2018"), ("version", "numpy"),
    }  # fmt: skip
    assert found["code", "gone"].now.startswith("no module pipeline.gone")
    assert (found["configuration", "run.seed"].then, found["configuration", "run.seed"].now) == (
        "nothing",
        "20260101",
    )
    result = CliRunner().invoke(app, ["reproduce", str(run)])
    assert result.exit_code == 1
    assert "NOT repeat the run: 7 differences" in result.output  # a version is rounding


def test_other_versions_alone_are_rounding(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["provenance"]["packages"]["scipy"] = "1.0"
    write_json(run / "summary.json", summary)
    write_crate(run, summary, started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:07:00+00:00")
    result = CliRunner().invoke(app, ["reproduce", str(run)])
    assert result.exit_code == 0
    assert "version: scipy: 1.0 in the run" in result.output
    assert "up to rounding" in result.output


@pytest.mark.parametrize("lost", ["settings", "data", "emulator", "packages"])
def test_an_edited_record_is_refused(run: Path, lost: str) -> None:
    summary = json.loads((run / "summary.json").read_text())
    del summary["provenance"][lost]
    write_json(run / "summary.json", summary)
    with pytest.raises(DataError, match=f"record of a finished run .*KeyError: '{lost}'"):
        compare(run)


def test_an_emulator_that_is_gone_is_a_difference(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["provenance"]["settings"]["theory"]["emulator"]["bundle"] = "of_a_later_version"
    write_json(run / "summary.json", summary)
    found = {(d.what, d.name): d.now for d in compare(run)}
    assert found["emulator", "of_a_later_version"] == "missing"


def test_what_is_no_run_or_no_checkout_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="finished run"):
        compare(tmp_path)
    with pytest.raises(DataError, match="expected a checkout"):
        compare(run, tmp_path)
    (run / "workflow" / "Snakefile").unlink()
    with pytest.raises(DataError, match="workflow/Snakefile"):
        write_crate(run, SUMMARY, started="2026-01-01", ended="2026-01-01")


def test_cite_prints_bibtex(run: Path) -> None:
    result = CliRunner().invoke(app, ["cite", str(run)])
    assert result.exit_code == 0
    assert "@article{zonca2019," in result.output
