"""The graph, without running it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.exceptions import WorkflowError

from cmbfit.config import load_config

from .conftest import ROOT, Checkout
from .graph import Graph, graph_of
from .loaded import kept

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module", autouse=True)
def rules_parsed_once() -> Iterator[None]:
    with kept():
        yield


def graph(folder: Path, name: str, *targets: str) -> Graph:
    return graph_of(folder, [ROOT / f"pipeline/config/{name}.yaml"], targets)


@pytest.mark.parametrize(
    "name", ["default", "tiny", "train", "simulated", "ground", "evaporation", "lqc", "freeform", "subsets"]
)
def test_every_shipped_configuration_gives_a_graph(tmp_path: Path, name: str) -> None:
    planned = graph(tmp_path, name)
    rules = {"prepare_maps", "estimate_spectra", "sample_posterior", "write_report", "gate"}
    assert rules <= set(planned.count())
    assert ("compute_theory" in planned.count()) == (name in {"tiny", "train"})
    outputs = [path for job in planned.jobs for path in job.outputs]
    assert len(outputs) > 15
    run = load_config([name])["run"]["name"]
    assert all(path.startswith(f"results/{run}/") for path in outputs)
    assert not list(tmp_path.rglob("*.json")), "a dry run writes nothing"


def test_training_and_extensions_are_targets(tmp_path: Path) -> None:
    planned = graph(tmp_path, "train", "training", "extensions")
    trained = {"plot_search", "compare_emulators", "plot_emulators", "compute_extension", "finetune_emulator"}
    assert trained <= set(planned.count())


def test_extensions_of_a_shipped_emulator_are_targets(tmp_path: Path) -> None:
    """Chunks hold 8 backgrounds, those of the focus among them: 8, 11, 15, 11, 5, 4, 7, 15 and 15."""
    count = graph(tmp_path, "family", "extensions").count()
    assert (count["compute_extension"], count["finetune_emulator"]) == (91, 9)
    assert "train_emulator" not in count


@pytest.mark.parametrize("name", ["wmap9", "planck2018"])
def test_surveys_of_many_maps_give_a_graph(tmp_path: Path, name: str) -> None:
    rules = {"prepare_split", "estimate_survey", "check_nulls", "sample_posterior", "write_report"}
    assert rules <= set(graph(tmp_path, name).count())


def test_primordial_models_give_a_graph(tmp_path: Path) -> None:
    """Transfer functions are computed once for all of them; whoever has them names their folder."""
    planned = graph(tmp_path, "early_universe")
    fits, count = load_config(["early_universe"])["run"]["fits"], planned.count()
    assert (count["compute_transfer_centre"], count["compute_transfer"]) == (1, 5)
    assert count["plot_primordial"] == len(fits) - 1  # not of the power law
    # evidences are taken around the chains, and so wait for them; the centre's transfer functions need memory
    for job in planned.jobs:
        assert job.rule != "compute_evidence" or any(".samples.h5" in path for path in job.inputs)
    (centre,) = (rule for rule in planned.rules if rule.name == "compute_transfer_centre")
    assert centre.resources["mem_mb"].value >= 1000


TYPOS: list[tuple[dict[str, Any], str]] = [
    ({"run": {"nam": "x"}}, "nam"),
    ({"run": {"name": ".."}}, "name"),
    ({"run": {"fits": ["mine"]}}, "mine"),
    ({"spectra": {"pair": ["V", "Q"]}}, "'Q'"),
    ({"theory": {"camb": {"mnu": 0.12}}}, "trained with 0.06"),
    ({"fits": {"lcdm_planck2018": {"priors": {"tau": {"uniform": [0.0, 0.9]}}}}}, "beyond the emulator"),
]


@pytest.mark.parametrize(("change", "named"), TYPOS)
def test_a_typo_in_the_configuration_stops_at_the_start(tmp_path: Path, change: dict, named: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(change))
    with pytest.raises(WorkflowError, match=re.escape(named)):
        graph_of(tmp_path, [path])
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_the_command_says_a_typo_without_a_traceback(tmp_path: Path) -> None:
    """Snakemake itself, in a process of its own."""
    change, named = TYPOS[-1]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(change))
    run = Checkout(ROOT).snakemake(
        "--dry-run", "--directory", str(tmp_path), config=str(tmp_path / "mine.yaml")
    )
    assert run.returncode != 0
    assert named in run.stderr + run.stdout
    assert "Traceback" not in run.stderr + run.stdout
    assert not (tmp_path / "results").exists()


def test_every_key_of_the_default_configuration_is_in_the_schema() -> None:
    """The schema refuses unknown keys; here: it also has no key that the default lacks without a reason.

    Four kinds of analysis are left out of a run by leaving out their key.
    """
    default = yaml.safe_load((ROOT / "pipeline/config/default.yaml").read_text())
    schema = yaml.safe_load((ROOT / "cmbfit/config/schema.yaml").read_text())
    optional = {"look_elsewhere", "birefringence", "blackbody", "quantum_states", "subsets"}
    assert set(schema["required"]) == set(schema["properties"]) - optional == set(default) - optional
    assert json.dumps(default)  # plain data only


def test_the_profile_for_clusters_knows_the_rules() -> None:
    """Each rule that it names exists, and it makes every fixed memory of a rule grow with the attempts."""
    text = "\n".join(p.read_text() for p in (ROOT / "pipeline/rules").glob("*.smk"))
    rules = dict(re.findall(r"^ *rule (\w+):\n(.*?)(?=^ *rule |\Z)", text, re.MULTILINE | re.DOTALL))
    profile = yaml.safe_load((ROOT / "pipeline/profiles/slurm/config.yaml").read_text())
    named = {*profile["set-resources"], *profile["set-threads"], *profile["slurm-array-jobs"].split(", ")}
    assert named <= set(rules)
    fixed = {name for name, body in rules.items() if re.search(r"^ *mem_mb=\d", body, re.MULTILINE)}
    growing = {r for r, v in profile["set-resources"].items() if str(v.get("mem_mb")).endswith("* attempt")}
    assert fixed
    assert fixed <= growing
