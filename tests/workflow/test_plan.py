"""What a run consists of, without Snakemake."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cmbfit.data import load_registry
from cmbfit.errors import ConfigError
from pipeline.make_standins import merged
from pipeline.plan import Plan
from pipeline.sections import Sections

from .conftest import ROOT

CONFIGS = ROOT / "pipeline/config"


def config(*names: str) -> dict[str, Any]:
    return merged([CONFIGS / f"{name}.yaml" for name in ("default", *names)])


def test_the_default_run_has_its_fit_its_maps_and_their_checks() -> None:
    plan = Plan(config())
    fits = config()["run"]["fits"]
    assert list(plan.fits) == fits
    assert plan.own_spectra.endswith("/spectra/VxW.sacc.fits")
    assert plan.lowl
    assert {f"{plan.folder}/checks/{n}.json" for n in ("spectra", "lowl", "likelihood")} < set(plan.checks)
    assert len(plan.checks) == 3 + 3 * len(fits)


@pytest.mark.parametrize("name", ["wmap9", "planck2018"])
def test_files_without_a_published_sum_ask_for_one_command(name: str) -> None:
    """The command brings all that the run's maps need and is not pinned, and nothing else."""
    plan = Plan(config(name))
    with pytest.raises(ConfigError) as stop:
        plan.require_pinned()
    (command,) = [x for x in str(stop.value).splitlines() if x.startswith("cmbfit ")]
    start, *words = command.split("cmbfit data fetch --trust-first ")
    assert start == ""
    registry = load_registry()
    brought = {e.name for word in words[0].split() for e in registry.select(word).values()}
    assert {n for n in brought if registry[n].sha256 is None} == {
        n for n in plan.map_files if registry[n].sha256 is None
    }


def test_files_with_sums_ask_for_nothing() -> None:
    Plan(config()).require_pinned()


def test_a_survey_has_its_own_checks_and_figures() -> None:
    plan = Plan(config("wmap9"))
    assert plan.survey is not None
    assert plan.own_spectra.endswith("/spectra/combined.sacc.fits")
    assert f"{plan.folder}/checks/nulls.json" in plan.checks
    assert f"{plan.folder}/maps/V.templates.json" in plan.checks
    assert f"{plan.folder}/figures/nulls.png" in plan.figures
    assert plan.resolved({"a": ["<results>/maps/x", "in <results>/"]}) == {
        "a": [f"{plan.folder}/maps/x", "in <results>/"]
    }


def test_primordial_fits_share_the_runs_transfer_functions() -> None:
    plan = Plan(config("early_universe"))
    manifests = {path for fit in plan.primordial_fits for path in plan.transfer_of(fit)}
    assert manifests == {f"{plan.folder}/theory/transfer/manifest.json"}
    assert len(plan.primordial_fits) == len(plan.fits) - 1


def test_knots_of_equal_data_are_averaged() -> None:
    given = config("freeform")
    plan = Plan(given)
    (group,) = plan.freeform_groups()
    names = given["run"]["fits"]
    assert [part["evidence"] for part in group["fits"]] == [f"{plan.folder}/evidence/{n}.json" for n in names]
    assert f"{plan.folder}/figures/freeform.png" in plan.figures
    assert plan.products["freeform"] == f"{plan.folder}/comparison/freeform.json"
    # one number of knots is no average, and without evidences there are no weights
    for change in (
        {"run": {**given["run"], "fits": ["knots_2"]}},
        {"comparison": {**given["comparison"], "evidence": None}},
    ):
        plan = Plan({**given, **change})
        assert plan.freeform == []
        assert "freeform" not in plan.products
        assert f"{plan.folder}/figures/freeform.png" not in plan.figures


def test_learned_models_show_what_they_learned() -> None:
    given = config("early_universe")
    given["run"]["fits"] = ["power_law", "cutoff_kinetic", "attractor"]
    plan = Plan(given)
    assert [x for x in plan.figures if "learned" in x] == [f"{plan.folder}/figures/learned_attractor.png"]
    assert plan.tensors


def test_models_with_a_bounce_show_it() -> None:
    plan = Plan(config("lqc"))
    fits = ("lqc_starobinsky", "lqc_starobinsky_hybrid", "lqc_quadratic")
    assert [x for x in plan.figures if "bounce" in x] == [
        f"{plan.folder}/figures/bounce_{f}.png" for f in fits
    ]
    assert plan.tensors


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("run", "fits"), ["mine"], "mine"),
        (("spectra", "pair"), ["V", "Q"], "'Q'"),
        (("theory", "camb", "mnu"), 0.12, "trained with 0.06"),
        (("comparison", "tension"), {"a_b": {"fit": "mine", "a": [], "b": []}}, "comparison.tension.a_b.fit"),
    ],
)
def test_names_that_are_not_there_are_refused(path: tuple[str, ...], value: Any, named: str) -> None:
    changed = copy.deepcopy(config())
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=named):
        Plan(changed)


def test_a_section_is_written_once_and_those_of_other_configurations_go(tmp_path: Any) -> None:
    sections = Sections(str(tmp_path / "config"))
    one, same, other = (sections.path("fit", x) for x in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}))
    assert one == same != other
    assert not (tmp_path / "config").exists()
    (tmp_path / "config").mkdir()
    (tmp_path / "config/fit.of_another.json").write_text("{}")
    sections.write()
    assert {str(p) for p in (tmp_path / "config").iterdir()} == {one, other}
    with pytest.raises(ConfigError, match="expected a name"):
        sections.path("a/b", {})
