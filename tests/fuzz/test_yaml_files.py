"""The registry, its overlay, and configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cmbfit.config import load_config
from cmbfit.config.check import schema_problems
from cmbfit.data import load_registry
from cmbfit.errors import ConfigError
from cmbfit.fit.run import complete_run
from cmbfit.survey.config import Survey
from tests.data.test_registry import GOOD
from tests.fuzz.damage import damaged, damaged_tree
from tests.fuzz.judge import judge

_REGISTRY = yaml.safe_load(GOOD)
_OVERLAY = {
    "version": 1,
    "pins": {"g/sub/b.dat": {"sha256": "b" * 64, "bytes": 5}},
    "mirrors": {"https://example.org/": "https://mirror.example/x/"},
}


@given(st.data())
def test_registry(tmp_path: Path, data: st.DataObject) -> None:
    path, overlay = tmp_path / "registry.yaml", tmp_path / "overlay.yaml"
    path.write_text(GOOD)
    overlay.write_text(yaml.safe_dump(_OVERLAY))
    match data.draw(st.sampled_from(["tree", "bytes", "overlay"])):
        case "tree":
            path.write_text(yaml.dump(data.draw(damaged_tree(_REGISTRY))))
        case "bytes":
            path.write_bytes(data.draw(damaged(GOOD.encode())))
        case _:
            overlay.write_text(yaml.dump(data.draw(damaged_tree(_OVERLAY))))

    def read() -> None:
        for name, entry in load_registry(path, overlay=overlay).items():
            # whatever is accepted stays below the cache and is had by https
            assert ".." not in Path(name).parts
            assert not Path(name).is_absolute()
            assert all("http://" not in str(s) or "http://127.0.0.1:" in str(s) for s in entry.sources)

    judge("registry", read)


def _bomb(levels: int = 25) -> str:
    """Aliases of aliases: 3^levels values in a kilobyte."""
    lines = ["a0: &a0 [1, 2, 3]"]
    lines += [f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}, *a{k - 1}]" for k in range(1, levels)]
    return "\n".join([*lines, f"version: *a{levels - 1}", f"groups: *a{levels - 1}", f"run: *a{levels - 1}"])


_DEEP = "a: " + "[" * 5_000


@pytest.mark.parametrize("text", [_bomb(), _DEEP], ids=["aliases", "deep"])
def test_yaml_that_grows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert not judge("registry", lambda: load_registry(path, overlay=""))
    assert not judge("configuration", lambda: load_config([path]))


def require_valid(config: Any) -> None:
    if problems := schema_problems(config):
        raise ConfigError("; ".join(problems))


_CONFIG = {name: load_config([name]) for name in ("default", "ground", "wmap9")}


@given(st.data())
def test_configuration(tmp_path: Path, data: st.DataObject) -> None:
    """What every door does with a file before it loads data: schema, merging, completion of its fits."""
    path = tmp_path / "mine.yaml"
    good = _CONFIG[data.draw(st.sampled_from(sorted(_CONFIG)))]
    if data.draw(st.integers(0, 4)):
        path.write_text(yaml.dump(data.draw(damaged_tree(good))))
    else:
        path.write_bytes(data.draw(damaged(yaml.safe_dump(good).encode())))

    def read() -> None:
        complete_run(load_config([path]))

    judge("configuration", read)


@given(st.data())
def test_maps_of_a_survey(data: st.DataObject) -> None:
    config = {**_CONFIG["wmap9"], "maps": data.draw(damaged_tree(_CONFIG["wmap9"]["maps"]))}

    def check() -> None:
        require_valid(config)
        if "fields" in config["maps"]:
            survey = Survey(config["maps"])
            _ = survey.files, [survey.field_inputs(f) for f in survey.masked]

    judge("maps of a survey", check)


@pytest.mark.parametrize("name", sorted(_CONFIG))
def test_the_undamaged_configuration_is_accepted(name: str) -> None:
    require_valid(_CONFIG[name])
    if name == "wmap9":
        assert Survey(_CONFIG[name]["maps"]).files
