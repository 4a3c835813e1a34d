"""Options that several commands share, and how their words are read."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cmbfit.errors import ParameterError, printable

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter of the theory: ombh2, omch2, theta_mc (or theta_MC_100, cosmomc_theta, H0), tau, "
        "logA (or As), ns. Repeat for each.",
    ),
]
EmulatorOption = Annotated[
    str, typer.Option("--emulator", help="Name of a shipped emulator, or a bundle's folder.")
]
FamilyOption = Annotated[
    str | None,
    typer.Option(
        "--emulator",
        help="Name of a shipped emulator, or a bundle's folder; default: lcdm_planck2018, or the one of its family with the "
        "parameters beyond LCDM that --set names.",
    ),
]
PrimordialOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="A primordial model (`cmbfit primordial list`); --set takes its parameters."
    ),
]
TransferOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of a run's transfer functions (results/.../theory/transfer), for primordial models."
    ),
]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="KEY=VALUE",
        help="Change one key, over all files: run.seed=3, fits.mine.ensembles=4. Repeat.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FigureOption = Annotated[
    Path | None,
    typer.Option("--figure", metavar="STEM", help="Also publish STEM.png, STEM.pdf and STEM.csv."),
]
ALLOW_CODE = "CMBFIT_ALLOW_CODE"


def _allow(value: bool) -> bool:
    if value:
        os.environ[ALLOW_CODE] = "1"  # of this process and its children
    return value


AllowCodeOption = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        callback=_allow,
        help="Run Python files that a configuration names, without `cmbfit trust`.",
    ),
]


def assignments(words: Sequence[str] | None, option: str) -> dict[str, float]:
    """Return the numbers of NAME=VALUE words.

    Raises
    ------
    ParameterError
        For a word of another form, a value that is no finite number, a name given twice.
    """
    out: dict[str, float] = {}
    for word in words or ():
        name, equals, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not equals or not name or not math.isfinite(value):
            raise ParameterError(f"{option}: expected NAME=NUMBER, found {word!r}")
        if name in out:
            raise ParameterError(f"{option}: {name} is given twice")
        out[name] = value
    return out


def say(text: object, *, err: bool = False) -> None:
    """Print a line; what stands in files of others cannot steer the terminal.

    Parameters
    ----------
    text : object
    err : bool
        To stderr.
    """
    typer.echo(printable(str(text)), err=err)
