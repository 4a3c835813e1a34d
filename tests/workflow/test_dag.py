"""The graph, without running it."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from .conftest import ROOT, Checkout

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize(
    "config",
    [
        None,
        *(f"pipeline/config/{name}.yaml" for name in ("tiny", "train", "simulated", "ground", "evaporation")),
    ],
)
def test_every_shipped_configuration_gives_a_graph(checkout: Checkout, config: str | None) -> None:
    run = checkout.snakemake("--dry-run", config=config)
    assert run.returncode == 0, run.stderr[-3000:]
    for rule in ("prepare_maps", "estimate_spectra", "sample_posterior", "write_report", "gate"):
        assert re.search(rf"^{rule}\s+\d", run.stdout, re.MULTILINE), rule
    trains = config is not None and re.search("tiny|train", config) is not None
    assert bool(re.search(r"^compute_theory\s+\d", run.stdout, re.MULTILINE)) == trains


def test_training_and_extensions_are_targets(checkout: Checkout) -> None:
    run = checkout.snakemake("--dry-run", "training", "extensions", config="pipeline/config/train.yaml")
    assert run.returncode == 0, run.stderr[-3000:]
    for rule in (
        "plot_search",
        "compare_emulators",
        "plot_emulators",
        "compute_extension",
        "finetune_emulator",
    ):
        assert re.search(rf"^{rule}\s+\d", run.stdout, re.MULTILINE), rule


@pytest.mark.parametrize("name", ["wmap9", "planck2018"])
def test_surveys_of_many_maps_give_a_graph(checkout: Checkout, name: str) -> None:
    run = checkout.snakemake("--dry-run", config=f"pipeline/config/{name}.yaml")
    assert run.returncode == 0, run.stderr[-3000:]
    for rule in ("prepare_split", "estimate_survey", "check_nulls", "sample_posterior", "write_report"):
        assert re.search(rf"^{rule}\s+\d", run.stdout, re.MULTILINE), rule


def test_primordial_models_give_a_graph(checkout: Checkout) -> None:
    """Transfer functions are computed once for all of them; whoever has them names their folder."""
    config = "pipeline/config/early_universe.yaml"
    run = checkout.snakemake("--dry-run", config=config)
    assert run.returncode == 0, run.stderr[-3000:]
    fits = yaml.safe_load((ROOT / config).read_text())["run"]["fits"]
    for rule, jobs in (
        ("compute_transfer_centre", 1),
        ("compute_transfer", 5),
        ("plot_primordial", len(fits) - 1),  # not of the power law
    ):
        assert re.search(rf"^{rule}\s+{jobs}$", run.stdout, re.MULTILINE), rule
    # evidences are taken around the chains, and so wait for them; the centre's transfer functions need memory
    waits = re.search(r"^rule compute_evidence:\n((?: {4}.*\n)+)", run.stdout, re.MULTILINE)
    assert waits is not None
    assert ".samples.h5" in waits[1]
    centre = re.search(r"^rule compute_transfer_centre:\n((?: {4}.*\n)+)", run.stdout, re.MULTILINE)
    assert centre is not None
    assert re.search(r"mem_mb=\d{4,}", centre[1])


def test_no_output_lies_outside_the_run_directory(checkout: Checkout) -> None:
    run = checkout.snakemake("--dry-run")
    outputs = re.findall(r"^ {4}output: (.+)$", run.stdout, re.MULTILINE)
    assert len(outputs) > 15
    for path in ", ".join(outputs).split(", "):
        assert path.startswith("results/tiny/"), path


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"run": {"nam": "x"}}, "nam"),
        ({"run": {"name": ".."}}, "name"),
        ({"run": {"fits": ["mine"]}}, "mine"),
        ({"spectra": {"pair": ["V", "Q"]}}, "'Q'"),
        ({"theory": {"camb": {"mnu": 0.12}}}, "trained with 0.06"),
        ({"fits": {"lcdm_planck2018": {"priors": {"tau": {"uniform": [0.0, 0.9]}}}}}, "beyond the emulator"),
    ],
)
def test_a_typo_in_the_configuration_stops_at_the_start(checkout: Checkout, change: dict, named: str) -> None:
    path = checkout.root / "mine.yaml"
    path.write_text(yaml.safe_dump(change))
    run = checkout.snakemake("--dry-run", config="mine.yaml")
    assert run.returncode != 0
    assert named in run.stderr + run.stdout
    assert "Traceback" not in run.stderr + run.stdout
    assert not (checkout.root / "results").exists()


def test_every_key_of_the_default_configuration_is_in_the_schema() -> None:
    """The schema refuses unknown keys; here: it also has no key that the default lacks without a reason.

    Four kinds of analysis are left out of a run by leaving out their key.
    """
    default = yaml.safe_load((ROOT / "pipeline/config/default.yaml").read_text())
    schema = yaml.safe_load((ROOT / "cmbfit/config/schema.yaml").read_text())
    optional = {"look_elsewhere", "birefringence", "blackbody", "quantum_states"}
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
