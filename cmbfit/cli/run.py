"""``cmbfit run``: the workflow from anywhere, a checkout or an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

import cmbfit
from cmbfit.errors import ConfigError, MissingCodeError
from cmbfit.io import write_text

_PACKAGE = Path(cmbfit.__file__).resolve().parent
# of the checkout, else of the installed wheel
_ROOTS = (_PACKAGE.parent, _PACKAGE / "_workflow")

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--config", metavar="KEY=VALUE", help="Laid over the configuration; dotted keys (run.seed=3). Repeat."
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Let the configuration's own Python code run (see `cmbfit trust`)."),
]


def workflow_root() -> Path:
    """Return the folder of the Snakefile and of the package ``pipeline``.

    Raises
    ------
    ConfigError
        If neither the checkout nor the installed package has them.
    """
    for root in _ROOTS:
        if (root / "Snakefile").is_file() and (root / "pipeline" / "rules").is_dir():
            return root
    raise ConfigError(
        f"no workflow: expected a Snakefile in {' or '.join(map(str, _ROOTS))}; reinstall cmbfit"
    )


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG]... [-- WORDS]",
            help="YAML files or shipped configurations' names, each laid over those before; none: the default run. "
            "Then further words for snakemake.",
        ),
    ] = None,
    cores: Annotated[str, typer.Option(help="How many, or all.")] = "all",
    until: Annotated[list[str] | None, typer.Option(help="Stop after this rule or file; repeat.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would run.")] = False,
    override: Overrides = None,
    allow_code: AllowCode = False,
) -> None:
    """Run the workflow: from maps or published data to chains, figures and a report in ./results/NAME.

    Finished products stay: a second run makes what is missing or out of date. `cmbfit check` says beforehand
    whether the configuration is right.

    Example: cmbfit run mine.yaml --cores 8 --config run.seed=3 -- --keep-going
    """
    from cmbfit.config import load_config  # noqa: PLC0415 (not for --help)
    from cmbfit.config.load import parse_overrides  # noqa: PLC0415

    files, further = split_words(words or ())
    given = parse_overrides(override or ())
    settings = load_config(files, given)  # mistakes show here, before snakemake starts
    if find_spec("snakemake") is None:
        raise MissingCodeError(
            "cmbfit run: expected snakemake beside cmbfit, found none: pip install 'cmbfit[workflow]'"
        )
    if given:
        files.append(_written(given, settings))
    command = snakemake_command(workflow_root(), files, cores=cores, until=until or (), dry_run=dry_run)
    environment = child_environment(workflow_root(), allow_code=allow_code)
    done = subprocess.run([*command, *further], env=environment, check=False)  # noqa: S603 (our own words)
    if done.returncode:
        raise typer.Exit(done.returncode)


def split_words(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the configuration files at the head of words, and what is left for snakemake.

    The first word is a configuration unless it is an option; so are those after it that are YAML files or shipped names.

    Raises
    ------
    ConfigError
        If the first word names no configuration.
    """
    from cmbfit.config import config_path, shipped_configs  # noqa: PLC0415

    files: list[Path] = []
    for i, word in enumerate(words):
        named = word.endswith((".yaml", ".yml")) or word in shipped_configs()
        if word.startswith("-") or (i > 0 and not named):
            return files, list(words[i:])
        files.append(config_path(word))
    return files, []


def _written(given: Mapping[str, Any], settings: Mapping[str, Any]) -> Path:
    """Write overrides as the last configuration file: snakemake's own --config makes text of numbers in sections."""
    import yaml  # noqa: PLC0415

    path = Path("results", settings["run"]["name"], "overrides.yaml")
    write_text(path, yaml.safe_dump(dict(given)))
    return path


def snakemake_command(
    root: Path, files: Sequence[Path], *, cores: str, until: Sequence[str] = (), dry_run: bool = False
) -> list[str]:
    """Return the words that start snakemake on the workflow of a folder."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--cores", cores]
    if files:
        command += ["--configfile", *(str(f.resolve()) for f in files)]
    if until:
        command += ["--until", *until]
    return [*command, "--dry-run"] if dry_run else command


def child_environment(root: Path, *, allow_code: bool = False) -> dict[str, str]:
    """Return the environment of snakemake: jobs import ``pipeline`` from `root`, wherever they run."""
    old = [str(Path(p).resolve()) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    out = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(root), *old]))}
    return {**out, "CMBFIT_ALLOW_CODE": "1"} if allow_code else out
