"""``cmbfit check``: everything that is wrong with a configuration at once, and what it would run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmbfit.cli.run import Overrides
from cmbfit.cli.words import say
from cmbfit.errors import CmbfitError, ConfigError, unknown_name

if TYPE_CHECKING:
    from cmbfit.fit.description import Fit

_NEEDED = ("theory", "spectra:", "run", "maps:", "device", "top level:")
"""Places of a configuration that its fits build on."""


def check(
    config: Annotated[list[str], typer.Argument(help="YAML files, or names of shipped configurations.")],
    override: Overrides = None,
    jobs: Annotated[
        bool,
        typer.Option(
            "--jobs", help="Count the workflow's jobs too (snakemake; half a minute, runs trusted code)."
        ),
    ] = False,
) -> None:
    """Say everything that is wrong with a configuration, and what it would run; exit code 0 or 2.

    Files after the first are laid over those before. Nothing is computed, and no Python code that the configuration
    names is imported, unless --jobs counts the workflow's jobs; `cmbfit run CONFIG -n` lists them.

    Example: cmbfit check mine.yaml
    """
    from cmbfit.config.check import schema_problems  # noqa: PLC0415 (not for --help)
    from cmbfit.config.load import merged, parse_overrides  # noqa: PLC0415

    unreadable = [text for name in config for text in _reading_problems(name)]
    if unreadable:
        _stop(unreadable)
    settings = merged(config, parse_overrides(override or ()))
    problems = schema_problems(settings)
    for text in problems:  # before torch is imported: most mistakes are here
        say(f"error: {text}", err=True)
    if any(text.startswith(_NEEDED) and "unknown key" not in text for text in problems):
        _stop(["the fits are looked at when this is right"], note=True)
    found, lines = _fits(settings, [n for n in settings["run"]["fits"] if not _about(n, problems)])
    others = (_map_problems, _comparison_problems, _blind_problems)
    later = found if problems else [*(text for of in others for text in of(settings)), *found]
    if problems or later:
        _stop(later)
    for line in [f"run {settings['run']['name']}: results/{settings['run']['name']}", *lines]:
        say(line)
    if jobs:
        say(_job_table(config, override or ()))
    say(f"{' '.join(config)}: nothing wrong")


def _job_table(config: Sequence[str], override: Sequence[str]) -> str:
    """Return snakemake's table of jobs, from a dry run."""
    words = [*config, "-n", *(w for text in override for w in ("--config", text))]
    program = "import sys; from cmbfit.cli.app import main; sys.argv[0] = 'cmbfit'; main()"
    command = [sys.executable, "-c", program, "run", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own words)
    output = done.stdout + done.stderr
    if done.returncode:
        raise ConfigError(f"the workflow cannot be planned: {output.strip()[-1500:]}")
    return output.rpartition("Job stats:\n")[2].partition("\n\n")[0]


def _stop(texts: Sequence[str], *, note: bool = False) -> None:
    for text in texts:
        say(f"{'note' if note else 'error'}: {text}", err=True)
    raise typer.Exit(2)


def _reading_problems(name: str) -> Iterator[str]:
    from cmbfit.config.load import config_path  # noqa: PLC0415
    from cmbfit.config.read import read_config_file  # noqa: PLC0415

    try:
        read_config_file(config_path(name))
    except CmbfitError as error:
        yield str(error)


def _about(fit: str, problems: Sequence[str]) -> bool:
    return any(text.startswith((f"fits.{fit}:", f"fits.{fit}.", f"fits.{fit}[")) for text in problems)


def _map_problems(settings: Mapping[str, Any]) -> list[str]:
    """Return what does not fit in the maps: names of a survey's parts, units, files that nobody registered."""
    from cmbfit.survey.config import Maps  # noqa: PLC0415 (the registry of files)

    try:
        Maps(settings)
    except CmbfitError as error:
        return str(error).splitlines()
    return []


def _blind_problems(settings: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with ``run.blind``; no secret is made."""
    if settings["run"].get("blind") is None:
        return []
    from cmbfit.fit.blind import planned_blind  # noqa: PLC0415 (torch)
    from cmbfit.fit.run import emulator_of_run  # noqa: PLC0415

    try:
        planned_blind(settings, emulator_of_run(settings)[1])
    except CmbfitError as error:
        return str(error).splitlines()
    return []


def _comparison_problems(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield fits and data sets that the comparison names and nobody defines."""
    fits, comparison = settings["fits"], settings["comparison"]
    named = {f"comparison.fixed.{n}.fit": (spec or {}).get("fit") for n, spec in comparison["fixed"].items()}
    named |= {f"comparison.tension.{n}.fit": spec["fit"] for n, spec in comparison["tension"].items()}
    named |= {"look_elsewhere.fit": (settings.get("look_elsewhere") or {}).get("fit")}
    for where, name in named.items():
        if name is not None and name not in fits:
            yield f"{where}: {unknown_name('fit', name, fits)}"
    for name, spec in comparison["tension"].items():
        for side in ("a", "b"):
            yield from _data_problems(f"comparison.tension.{name}.{side}", spec[side])


def _data_problems(where: str, items: Sequence[Any]) -> Iterator[str]:
    """Yield what is wrong with each item of a list of data, its files included."""
    from cmbfit.likelihood.selection import select  # noqa: PLC0415 (torch)

    for i, item in enumerate(items):
        try:
            for selection in select([item]):
                path = selection.path
                if path is not None and not path.is_file():
                    yield f"{where}[{i}]: {path}: no such file"
        except CmbfitError as error:
            yield f"{where}[{i}]: {error}"


def _fits(settings: Mapping[str, Any], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what is wrong with fits, and of those that are right what they are."""
    from cmbfit.fit.run import Run, fit_of_run  # noqa: PLC0415 (torch)

    problems, lines, run = [], [], Run(settings, {})
    for name in names:
        if name not in settings["fits"]:
            problems.append(f"run.fits: {unknown_name('fit', name, settings['fits'])}")
            continue
        section = settings["fits"][name]
        if wrong := list(_data_problems(f"fits.{name}.data", section["data"])):
            problems += wrong
        elif code := own_code(section):
            files = (x if x.endswith(".py") else x.rpartition(":")[0] for x in code)
            missing = [x for x in files if x.endswith(".py") and not Path(x).is_file()]
            problems += [f"fits.{name}: {x}: no such file" for x in missing]
            lines += [f"fit {name}: not looked into, since that needs your own code: {', '.join(code)}"]
        else:
            try:
                lines += describe(fit_of_run(run, name))
            except CmbfitError as error:
                problems += str(error).splitlines()
    return problems, lines


def own_code(section: Mapping[str, Any]) -> list[str]:
    """Return the Python code that a fit's section names: files and import paths ``module:NAME``.

    Examples
    --------
    >>> own_code({"data": ["planck2018", {"likelihood": "./mine.py"}], "theory": {"primordial": "starobinsky"}})
    ['./mine.py']
    """
    theory = section.get("theory", {})
    named = [theory.get(key) for key in ("primordial", "tensors", "class")]
    named += [item.get("likelihood") for item in section["data"] if isinstance(item, Mapping)]
    named.append(section.get("sampler", {}).get("kind"))
    return [x for x in named if isinstance(x, str) and (":" in x or x.endswith(".py"))]


def describe(fit: Fit) -> list[str]:
    """Return the lines that say what a fit is: data, theory, parameters with priors, sampler."""
    from cmbfit.likelihood.selection import select  # noqa: PLC0415

    selections = select(fit.data)
    nuisances = [n for s in selections for n in (s.nuisance_names or ()) if n not in fit.priors]
    own = f"; by their data sets' priors {', '.join(dict.fromkeys(nuisances))}" if nuisances else ""
    theory = ", ".join(f"{key} {value}" for key, value in fit.theory.items())
    settings = ", ".join(f"{k} {v}" for k, v in fit.sampler.items() if k != "kind")
    return [
        f"fit {fit.name}: {fit.title}",
        f"  data        {', '.join(s.name for s in selections)}",
        f"  theory      {theory}",
        f"  parameters  {', '.join(f'{p} {_prior(spec)}' for p, spec in fit.priors.items())}{own}",
        f"  sampler     {fit.sampler['kind']}{f' ({settings})' if settings else ''}",
        f"  jobs        {fit.ensembles} chains, then publication, exact spectra, checks and figures",
    ]


def _prior(spec: Mapping[str, Any]) -> str:
    ((kind, (a, b)),) = spec.items()
    return f"{a:g} to {b:g}" if kind == "uniform" else f"{a:g} +- {b:g}"
