"""``cmbfit trust``: allow a file of the user's own code to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmbfit.cli.words import say


def trust(file: Annotated[Path, typer.Argument(help="A Python file that you have read.")]) -> None:
    """Record a file's sha256, so that configurations that name it may run it.

    A configuration may name Python code (a theory, a likelihood, a primordial model). It runs only with
    --allow-code, or if these very bytes were recorded here.

    Example: cmbfit trust ./mymodel.py
    """
    from cmbfit.trust import trust as record  # noqa: PLC0415 (not for --help)
    from cmbfit.trust import trust_file  # noqa: PLC0415

    say(f"{record(file)}  {file}\nmay run now; recorded in {trust_file()}")
