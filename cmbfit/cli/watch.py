"""``cmbfit watch``: a run while it is under way, in a terminal and as a page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cmbfit.cli.words import say


def watch(
    run: Annotated[Path, typer.Argument(help="The run's folder, results/NAME.")] = Path("results/default"),
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")] = 3.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    page: Annotated[
        bool,
        typer.Option(
            help="Fill report/index.html with the figures so far, until the report takes its place."
        ),
    ] = True,
) -> None:
    """Say how far a run is: steps, running jobs, and of samplers tau, effective samples, evaluations/s and time left.

    It reads the run's files and may be started, stopped and started again in another terminal, also for a run on a cluster.
    It ends when the run does, with 1 if that was before its end.

    Example: cmbfit watch results/default --once
    """
    from cmbfit.report.live import fill_page, read_state, words  # noqa: PLC0415 (not for --help)

    before: list[str] = []
    while True:
        state = read_state(run)
        lines = words(run, state)
        if lines != before:
            say("\n".join(lines))
        before = lines
        if page and not state.over:
            fill_page(run, state)
        if state.over or once:
            break
        time.sleep(every)
    if state.over and not state.finished:
        raise typer.Exit(1)
