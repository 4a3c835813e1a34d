"""What the many-map part of a configuration is turned into, and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from cmbfit.data import load_registry
from cmbfit.errors import ConfigError
from cmbfit.survey.config import Survey
from tests.conftest import ROOT


def section(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / f"pipeline/config/{name}.yaml").read_text())["maps"]


@pytest.mark.parametrize(("name", "n_maps"), [("wmap9", 54 + 9 + 1), ("planck2018", 6)])
def test_every_file_of_a_shipped_configuration_is_registered(name: str, n_maps: int) -> None:
    survey, registry = Survey(section(name)), load_registry()
    files = survey.files
    assert len([f for f in files if "/maps/" in f]) == n_maps
    assert all(f in registry for f in files)


def test_a_template_without_splits_serves_all_splits() -> None:
    survey = Survey(section("wmap9"))
    assert survey.split_files("V", "K")[2] == "<results>/maps/K.3.fits"
    assert set(survey.split_files("V", "dust")) == {"<results>/maps/dust.all.fits"}
    assert survey.template_spec("V", "dust")["alms"] == ["<results>/alms/sky/dust.all.h5"]
    spec = survey.field_spec("W")
    assert len(spec["splits"]) == len(spec["alms"]) == len(spec["templates"][1]) == 9


def test_masks_of_t_and_of_polarisation() -> None:
    maps = section("wmap9")
    maps["fields"]["V"]["survey"] = "wmap"
    spec = Survey(maps).field_spec("V")
    assert (spec["mask"], spec["mask_p"]) == tuple(
        f"<results>/maps/mask_{m}.fits" for m in ("temperature", "polarisation")
    )
    assert spec["survey"] == "wmap"
    assert spec["mask_p"] in Survey(maps).field_inputs("V")
    maps["fields"]["W"]["mask_p"] = "temperature"  # the same as that of T: one mask
    assert "mask_p" not in Survey(maps).field_spec("W")
    assert Survey(maps).masks_of("W") == ["temperature"]
    joined = Survey(section("planck2018"))
    assert joined.masks_of("cmb") == joined.masks_of("d143x217") == ["temperature", "polarisation"]


def broken(path: list[str], value: Any) -> dict[str, Any]:
    out = copy.deepcopy(section("planck2018" if path[0] == "differences" else "wmap9"))
    place = out
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return out


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (["fields", "V", "mask"], "kq85", "temperature"),
        (["fields", "V", "mask_p"], "kq85", "polarisation"),
        (["cleaning", "fields"], ["Q"], "V, W"),
        (["cleaning", "templates"], ["starlight"], "K, dust"),
        (["cleaning", "window"], [10, 200], "3 nside = 24"),
        (["templates", "K", "splits"], ["1", "2"], "no split '3'"),
        (["templates", "V"], {"detectors": {}, "maps": ""}, "one name"),
        (["differences", "d143x217", "join"], ["f143", "f353"], "f353"),
    ],
)
def test_what_does_not_fit_together_is_refused(path: list[str], value: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Survey(broken(path, value))
