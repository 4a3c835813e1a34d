"""``cmbfit bench``: what the likelihood costs on this machine."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cmbfit.cli.words import AllowCodeOption, ConfigOption, TransferOption, say
from cmbfit.io import write_json

app = typer.Typer(help="Measure this machine.", no_args_is_help=True)


@app.callback()
def _several() -> None:
    """Keep `likelihood` a word of its own: there will be others."""


@app.command()
def likelihood(
    config: Annotated[
        str, typer.Argument(help="A run's configuration: a YAML file, or a shipped one's name.")
    ] = "default",
    fit: Annotated[str | None, typer.Option(help="Name of the fit; default: the first of run.fits.")] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Points at once; repeat. Default: 1 to 8192.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Torch threads; default: all cores.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda; default: the configuration's.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are reported.")] = 5,
    seconds: Annotated[float, typer.Option(help="Time of each measurement.")] = 0.5,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.")] = None,
    transfer: TransferOption = None,
    changes: ConfigOption = None,
    allow_code: AllowCodeOption = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Posterior evaluations per second of a fit by batch size, with and without gradients, as JSON.

    The default is Planck 2018: emulator, plik-lite TTTEEE, low-l TT, low-l EE and priors. benchmarks/ in the sources
    measures it beside other codes.
    """
    from cmbfit.cli.fit import read_fit  # noqa: PLC0415 (not for --help)

    run, chosen = read_fit(config, changes, fit, transfer=transfer)
    import torch  # noqa: PLC0415

    from cmbfit.fit.build import build_posterior, start_point  # noqa: PLC0415

    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    posterior = build_posterior(chosen, device or run.device)
    centre, scale = start_point(chosen, posterior)
    middle = torch.tensor([[centre[p] for p in posterior.parameters]], dtype=torch.float64)
    width = torch.tensor([[scale[p] for p in posterior.parameters]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(run.seed)

    def measured(n: int) -> dict[str, Any]:
        draws = torch.randn(n, middle.shape[1], dtype=torch.float64, generator=generator)
        theta = (middle + width * draws).to(posterior.device)

        def values() -> None:
            with torch.no_grad():
                posterior.log_prob(theta).cpu()

        def gradients() -> None:
            posterior.log_prob_and_gradient(theta)[1].cpu()

        rates = [(_rate(values, n, seconds), _rate(gradients, n, seconds)) for _ in range(rounds)]
        plain, with_gradient = (statistics.median(x) for x in zip(*rates, strict=True))
        return {"batch": n, "per_s": plain, "with_gradient_per_s": with_gradient}

    result = {
        "fit": chosen.title,
        "data": list(chosen.data),
        "rows": [measured(n) for n in batch or [2**k for k in range(14)]],
        "fold_difference": posterior.fold_difference,
        "not_folded": posterior.not_folded,
        "device": torch.cuda.get_device_name() if posterior.device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "torch": torch.__version__,
    }
    if output is not None:
        write_json(output, result)
    say(json.dumps(result, indent=2))


def _rate(call: Callable[[], None], n: int, seconds: float) -> float:
    """Return evaluations per second of a call that makes `n` of them."""
    call()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or done < 3:
        call()
        done += 1
    return done * n / elapsed
