"""One loader: what a user wrote is honoured or refused by its place, whichever file it stands in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cmbfit.config import config_path, load_config, shipped_configs
from cmbfit.config.check import schema_problems
from cmbfit.config.load import parse_overrides
from cmbfit.config.merge import merge
from cmbfit.errors import ConfigError


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_every_shipped_configuration_is_accepted(name: str) -> None:
    files = ["early_universe", name] if name == "early_universe_full" else [name]
    assert load_config(files)["run"]["name"] == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("likelyhood: 3", "unknown key 'likelyhood'; did you mean 'likelihood'"),
        (
            "fits: {mine: {data: [planck2018], prior: {}}}",
            "fits.mine: unknown key 'prior'; did you mean 'priors'",
        ),
        ("theory: {emulator: {bundel: x}}", "theory.emulator: unknown key 'bundel'; did you mean 'bundle'"),
        ("run: {seed: 1.0}", "run.seed: expected a whole number, found 1.0"),
        ("run: {seed: true}", "run.seed: expected a whole number, found True"),
        ("run: {seed: .nan}", "run.seed: expected a finite number"),
        ("maps: {apodisation: {degrees: .inf}}", "maps.apodisation.degrees: expected a finite number"),
        ("run: {seed: 1}\nrun: {seed: 2}", "line 2: the key 'run' is given twice"),
        ("fits:\n  a: {data: [x]}\n  b: {data: [x]}\n  a: {data: [y]}", "line 4: the key 'a' is given twice"),
        ('run: {name: "a\\nb"}', "run.name"),
        ('fits: {"a\\nb": {data: [planck2018]}}', "expected a name as key"),
        ("blackbody: {amplitude_max: 1e-3}", "write 0.001 with a point in it"),
        (
            "theory: {emulator: {check: {draws: 1}}}",
            "theory.emulator.check.draws: 1 is less than the minimum of 2",
        ),
        ("spectra: {edges: [2, 9, 5]}", "spectra.edges: expected rising multipoles"),
        ("device: gpu", "device: expected one of auto, cpu, cuda, found 'gpu'"),
        (
            "fits: {mine: {data: [planck2018], sampler: {kind: hmc, block_trajectories: 5}}}",
            "fits.mine.sampler.block_trajectories: has moved: write fits.mine.sampler.block_steps",
        ),
        ("- a\n- b", "expected sections"),
        ("a: [", "mine.yaml"),
        ("fits: {mine: {data: []}}", "fits.mine.data"),
        ("when: 2020-01-01", "expected text, a number"),
    ],
)
def test_a_mistake_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([written(tmp_path, text)])
    assert said in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([written(tmp_path, "likelyhood: 3\ndevice: gpu\nrun: {seed: x}")])
    assert all(word in str(caught.value) for word in ("likelyhood", "device", "run.seed"))


def test_a_prior_replaces_the_default_one(tmp_path: Path) -> None:
    """The tutorial's example: a Gaussian in place of a uniform prior is one prior, not two."""
    config = load_config(
        [written(tmp_path, "fits: {lcdm_planck2018: {priors: {ns: {gaussian: [0.965, 0.004]}}}}")]
    )
    fit = config["fits"]["lcdm_planck2018"]
    assert fit["priors"]["ns"] == {"gaussian": [0.965, 0.004]}
    assert fit["priors"]["tau"] == {"uniform": [0.02, 0.15]}  # the others stay


def test_a_sampler_is_replaced_whole(tmp_path: Path) -> None:
    config = load_config([written(tmp_path, "fits: {lcdm_planck2018: {sampler: {kind: hmc, walkers: 64}}}")])
    assert config["fits"]["lcdm_planck2018"]["sampler"] == {"kind": "hmc", "walkers": 64}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ("ensembles: 3", {"title", "reference", "gate"}),
        ("priors: {ns: {uniform: [0.9, 1.0]}}", {"title"}),
        ("data: [act_dr6_cmb_only, tau_lowe]", set()),
        ("{data: [act_dr6_cmb_only], gate: {pull: 2.0}}", {"gate"}),
    ],
)
def test_what_was_published_is_not_inherited_by_other_data_or_priors(
    tmp_path: Path, change: str, kept: set[str]
) -> None:
    inner = change if change.startswith("{") else "{" + change + "}"
    config = load_config([written(tmp_path, f"fits: {{lcdm_planck2018: {inner}}}")])
    assert {"title", "reference", "gate"} & set(config["fits"]["lcdm_planck2018"]) == kept


def test_a_file_runs_the_fits_that_it_defines(tmp_path: Path) -> None:
    path = written(
        tmp_path, "fits: {mine: {data: [planck2018]}, other: {data: [act_dr6_cmb_only, tau_lowe]}}"
    )
    assert load_config([path])["run"]["fits"] == ["mine", "other"]
    said = written(tmp_path, "run: {fits: [other]}\nfits: {mine: {data: [planck2018]}}", "said.yaml")
    assert load_config([said])["run"]["fits"] == ["other"]


def test_later_files_and_overrides_go_before_earlier_ones(tmp_path: Path) -> None:
    one, two = written(tmp_path, "run: {seed: 1}"), written(tmp_path, "run: {seed: 2, name: b}", "two.yaml")
    assert load_config([one, two])["run"]["seed"] == 2
    assert load_config([two, one])["run"] | {"fits": 0} == {"name": "b", "seed": 1, "fits": 0}
    assert load_config([one], parse_overrides(["run.seed=7", "device=cpu"]))["run"]["seed"] == 7
    with pytest.raises(ConfigError, match=r"run.seed: expected a whole number"):
        load_config([one], parse_overrides(["run.seed=seven"]))
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        parse_overrides(["seed"])


def test_an_emulator_is_shipped_or_trained_whichever_was_said_last() -> None:
    assert "bundle" not in load_config(["tiny"])["theory"]["emulator"]
    back = merge(load_config(["tiny"]), {"theory": {"emulator": {"bundle": "lcdm_high"}}})
    assert "train" not in back["theory"]["emulator"]


def test_anchors_and_merge_keys_of_yaml_are_no_repetition(tmp_path: Path) -> None:
    text = "fits:\n  a: &a\n    data: [planck2018]\n    ensembles: 2\n  b:\n    <<: *a\n    ensembles: 3\n"
    assert load_config([written(tmp_path, text)])["fits"]["b"] == {"data": ["planck2018"], "ensembles": 3}


def test_a_shipped_name_stands_for_its_file_and_an_unknown_one_for_nothing() -> None:
    assert config_path("ground").name == "ground.yaml"
    with pytest.raises(ConfigError, match="did you mean 'ground'"):
        config_path("groud")
    with pytest.raises(ConfigError, match="no such configuration"):
        config_path("groud.yaml")


def leaves(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict) and value:
        return [x for k, v in value.items() for x in leaves(v, (*where, k))]
    if isinstance(value, list) and value:
        return [x for i, v in enumerate(value) for x in leaves(v, (*where, i))]
    return [(where, value)]


NAMED = {
    "priors",
    "start",
    "parameters",
    "bands",
    "fits",
    "fields",
    "channels",
    "templates",
    "masks",
    "detectors",
}
NAMED |= {
    "fiducial",
    "chi2",
    "nuisance",
    "fixed",
    "values",
    "tension",
    "nests",
    "cuts",
    "box",
    "ranges",
    "differences",
}
"""Sections whose keys are names of the user's or of parameters: checked where the fit is completed."""


@pytest.mark.parametrize("name", ["default", "tiny", "simulated", "wmap9"])
def test_a_misspelt_key_anywhere_is_refused(name: str) -> None:
    """Every section is closed: no key of a shipped configuration can be misspelt without a word."""
    config, seen = load_config([name]), set()
    for where, _ in leaves(config):
        for depth, key in enumerate(where):
            place = tuple("*" if i and where[i - 1] in NAMED else k for i, k in enumerate(where[: depth + 1]))
            open_section = {"priors", "sampler", "evidence", "data"} & set(where[:depth])
            if isinstance(key, int) or place[-1] == "*" or open_section or place in seen:
                continue
            seen.add(place)
            parts: list[Any] = [config]
            for part in where[:depth]:
                parts.append(parts[-1][part])
            parts[-1][f"{key}x"] = parts[-1].pop(key)
            assert schema_problems(config), place
            parts[-1][key] = parts[-1].pop(f"{key}x")
    assert len(seen) > 40
