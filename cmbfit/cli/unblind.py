"""``cmbfit unblind``: open a blinded run when its frozen criteria are met."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmbfit.cli.words import say


def unblind(
    run: Annotated[Path, typer.Argument(help="A finished, blinded run: results/NAME or fits/NAME.")],
    reason: Annotated[str, typer.Option(help="Why now; goes into the record and the crate.")],
    force: Annotated[
        bool, typer.Option("--force", help="Although criteria are unmet; recorded as forced.")
    ] = False,
) -> None:
    """Open a blinded run whose frozen criteria are met, and record it: its configuration then makes unblinded products.

    The record (unblinding.json, logs/unblinding.log, the RO-Crate) holds time, reason, criteria, hashes and the secret, whose
    sha256 the blinded run carried. Nothing is computed: run the configuration again for unblinded products.

    Example: cmbfit unblind results/mine --reason "all nulls passed, analysis frozen"
    """
    from cmbfit.provenance.unblind import unblind as open_run  # noqa: PLC0415 (not for --help)

    record = open_run(run, reason, force=force)
    for row in record["criteria"]:
        say(f"{'met    ' if row['met'] else 'NOT MET'} {row['criterion']}: {row['found']}")
    say(
        f"unblinded {record['time']}{' by force' if record['forced'] else ''}; recorded in {run / 'unblinding.json'}"
    )
    say("run the same configuration again (cmbfit run, cmbfit fit) for unblinded products")
