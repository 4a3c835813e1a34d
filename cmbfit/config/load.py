"""One loader for every door: files and overrides in, a complete and checked configuration out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cmbfit
from cmbfit.config.check import schema_problems
from cmbfit.config.merge import merge
from cmbfit.config.read import parse_yaml, read_config_file, unusable_values
from cmbfit.errors import ConfigError, unknown_name

_PACKAGE = Path(cmbfit.__file__).resolve().parent
# of the checkout, else of the installed wheel
_FOLDERS = (_PACKAGE.parent / "pipeline" / "config", _PACKAGE / "_workflow" / "pipeline" / "config")


def shipped_folder() -> Path:
    """Return the folder of the shipped configurations."""
    return next((f for f in _FOLDERS if (f / "default.yaml").is_file()), _FOLDERS[0])


def shipped_configs() -> dict[str, Path]:
    """Return the shipped configurations by name."""
    return {p.stem: p for p in sorted(shipped_folder().glob("*.yaml"))}


def config_path(name: str | Path) -> Path:
    """Return the file of a configuration: a path, or the name of a shipped one.

    Raises
    ------
    ConfigError
        If there is neither; the message lists the shipped names.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix not in (".yaml", ".yml") and len(path.parts) == 1:
        shipped = shipped_configs()
        if path.name not in shipped:
            raise ConfigError(unknown_name("configuration", path.name, shipped))
        return shipped[path.name]
    raise ConfigError(
        f"{path}: no such configuration; expected a file, or one of {', '.join(shipped_configs())}"
    )


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Turn KEY=VALUE words (Snakemake's ``--config``) into a configuration; values are YAML, keys may be dotted.

    Examples
    --------
    >>> parse_overrides(["device=cpu", "run.seed=3", "run.fits=[a]"])
    {'device': 'cpu', 'run': {'seed': 3, 'fits': ['a']}}
    """
    out: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"--config: expected KEY=VALUE, found {word!r}")
        value = parse_yaml(text, f"--config {key}")
        for part in reversed(key.split(".")):
            value = {part: value}
        out = merge(out, value)
    if problems := list(unusable_values(out)):
        raise ConfigError("--config: " + "; ".join(problems))
    return out


def merged(files: Sequence[str | Path], overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the defaults with files and overrides laid over them in order, unchecked.

    ``run.fits`` is what the files say; where they define fits and do not say which are run, these fits.
    """
    layers = [read_config_file(config_path(f)) for f in files]
    layers += [dict(overrides)] if overrides else []
    config = read_config_file(shipped_folder() / "default.yaml")
    said, defined = False, dict[str, None]()
    for layer in layers:
        config = merge(config, layer)
        said = said or "fits" in (layer.get("run") or {})
        defined |= dict.fromkeys(layer.get("fits") or {})
    if defined and not said and isinstance(config.get("run"), dict):
        config["run"] = {**config["run"], "fits": list(defined)}
    return config


def load_config(
    files: Sequence[str | Path] = (), overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a run's configuration: the defaults, with files and overrides laid over them, checked by the schema.

    Parameters
    ----------
    files : sequence of path
        In order; each a YAML file or the name of a shipped configuration. None: the default run.
    overrides : mapping, optional
        Applied last (``--config`` and options of the command line).

    Raises
    ------
    ConfigError
        For a file that is no configuration, a key given twice or unknown, a value out of range: all of them at once,
        each with its place.

    Examples
    --------
    >>> load_config()["run"]["fits"]
    ['lcdm_planck2018']
    """
    config = merged(files, overrides)
    if problems := schema_problems(config):
        name = " ".join(str(f) for f in files) or "the configuration"
        raise ConfigError(f"{name}: " + "; ".join(problems))
    return config
