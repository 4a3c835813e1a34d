"""``cmbfit bench``: what the likelihood costs on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cmbfit.io import write_json

app = typer.Typer(help="Measure this machine.", no_args_is_help=True)


@app.callback()
def _several() -> None:
    """Keep `likelihood` a word of its own: there will be others."""


@app.command()
def likelihood(
    batch: Annotated[
        list[int] | None, typer.Option(help="Points at once; repeat. Default: 1 to 8192.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Torch threads; default: all cores.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are reported.")] = 5,
    seconds: Annotated[float, typer.Option(help="Time of each measurement.")] = 0.5,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.")] = None,
) -> None:
    """Posterior evaluations per second by batch size, with peers that are installed, as JSON.

    Planck 2018: emulator, plik-lite TTTEEE, low-l TT, low-l EE and priors, with and without gradients.
    """
    from cmbfit.inference.benchmark import benchmark_likelihood  # noqa: PLC0415

    result = benchmark_likelihood(
        batch or [2**k for k in range(14)], threads=threads, device=device, rounds=rounds, seconds=seconds
    )
    if output is not None:
        write_json(output, result)
    typer.echo(json.dumps(result, indent=2))
