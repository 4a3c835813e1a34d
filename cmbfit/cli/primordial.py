"""``cmbfit primordial``: what primordial spectra there are, plots of them, how well networks learned them, and any potential's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cmbfit.cli.words import JsonOption, assignments, say

app = typer.Typer(help="Primordial power spectra: what there is, and plots.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the primordial models: name, parameters, formula."""
    from cmbfit.theory.primordial import MODELS  # noqa: PLC0415 (torch)

    if as_json:
        rows = [
            {
                "name": m.name,
                "kind": m.kind,
                "title": m.title,
                "formula": m.formula,
                "parameters": [
                    {
                        "name": p.name,
                        "default": p.default,
                        "prior": p.prior.describe(),
                        "unit": p.unit,
                        "meaning": p.meaning,
                    }
                    for p in m.parameters
                ],
                "citations": list(m.citations),
                "note": m.note,
            }
            for m in MODELS.values()
        ]
        say(json.dumps(rows, indent=2))
        return
    width = max(len(name) for name in MODELS)
    for model in MODELS.values():
        say(f"{model.name:{width}}  {model.kind:6}  {' '.join(model.parameter_names)}")
        say(f"{'':{width}}  {model.formula}")


@app.command()
def plot(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="STEM", help="Publish STEM.png, .pdf and .csv.")
    ],
    names: Annotated[list[str] | None, typer.Argument(help="Models; default all.")] = None,
) -> None:
    """Plot primordial spectra at their default parameters.

    Example: cmbfit primordial plot cutoff_kinetic bounce_lqc -o spectra
    """
    import numpy as np  # noqa: PLC0415

    from cmbfit.figures.primordial import plot_primordial, primordial_table  # noqa: PLC0415 (matplotlib)
    from cmbfit.figures.style import save_figure  # noqa: PLC0415
    from cmbfit.theory.primordial import MODELS, get_model  # noqa: PLC0415

    models = [get_model(n) for n in names] if names else list(MODELS.values())
    k = np.geomspace(1e-5, 1.0, 600)
    save_figure(plot_primordial(models, k), output, primordial_table(models, k))
    say(f"wrote {output}.png, .pdf, .csv", err=True)


@app.command()
def learned(
    name: Annotated[str, typer.Argument(help="A model that a network learned.")] = "attractor",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="STEM", help="Publish STEM.png, .pdf and .csv.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how well the network of a learned model knows what the solver evolves, at points that did not train it.

    Example: cmbfit primordial learned attractor -o learned
    """
    from cmbfit.figures.learned import learned_and_evolved, learned_table, plot_learned  # noqa: PLC0415 (matplotlib)
    from cmbfit.figures.style import save_figure  # noqa: PLC0415
    from cmbfit.theory.primordial import get_model  # noqa: PLC0415

    model = get_model(name)
    found = learned_and_evolved(model)
    if as_json:
        say(json.dumps({"model": model.name, "curve": found.curve}, indent=2))
    else:
        say(f"{model.name}: ln P learned minus evolved, at {len(found.held_out)} points that did not train")
        say("evolved points   rms        largest")
        for row in found.curve:
            say(f"{row['n_train']:14.0f}   {row['rms']:.2e}   {row['max']:.2e}")
    if output is not None:
        save_figure(plot_learned(found, model.title), output, learned_table(found))
        say(f"wrote {output}.png, .pdf, .csv", err=True)


@app.command()
def solve(
    potential: Annotated[str, typer.Argument(help="V(phi) in units of M_p, with parameters by name.")],
    phi: Annotated[
        tuple[float, float],
        typer.Option(metavar="LOW HIGH", help="Field between which inflation happens and ends."),
    ],
    efolds: Annotated[float, typer.Option(help="N* between the exit of k* = 0.05/Mpc and the end.")] = 55.0,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the potential. Repeat."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evolve the modes of an inflaton's potential: amplitude, tilts and r at the pivot, no slow-roll formula.

    Example: cmbfit primordial solve "m**2 * phi**2 / 2" --phi 0.1 25 --set m=6e-6
    """
    from cmbfit.theory.primordial.inflation import spectral_parameters  # noqa: PLC0415 (torch)
    from cmbfit.theory.primordial.potential import Potential  # noqa: PLC0415

    values = assignments(sets, "--set")
    found = spectral_parameters(Potential(potential, values, phi), efolds)
    out = {
        "potential": potential,
        "parameters": values,
        "efolds": efolds,
        "amplitude": found.amplitude.item(),
        "ns": found.ns.item(),
        "nrun": found.running.item(),
        "r": found.r.item(),
        "nt": found.nt.item(),
    }
    if as_json:
        say(json.dumps(out, indent=2))
        return
    say(f"A_s = {out['amplitude']:.6g}, n_s = {out['ns']:.6f}, dn_s/dlnk = {out['nrun']:.6f}")
    say(f"r = {out['r']:.6f}, n_t = {out['nt']:.6f}")
