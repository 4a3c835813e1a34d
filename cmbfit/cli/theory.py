"""``cmbfit theory``: spectra of one cosmology as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmbfit.cli.codes import Code, compute_spectra
from cmbfit.cli.words import FamilyOption, PrimordialOption, SetOption, TransferOption, assignments, say
from cmbfit.errors import ConfigError
from cmbfit.io import publish_record

if TYPE_CHECKING:
    from cmbfit.theory.primordial_spectra import Departure


def theory(
    output: Annotated[Path, typer.Option("--output", "-o", help="Text file to write.")],
    code: Annotated[
        Code, typer.Option(help="CAMB or CLASS (seconds, exact) or the emulator (instant).")
    ] = Code.emulator,
    values: SetOption = None,
    lmax: Annotated[int, typer.Option(help="Largest multipole.")] = 2508,
    emulator: FamilyOption = None,
    preset: Annotated[
        str, typer.Option(help="Pinned settings of the Boltzmann code: planck2018, or high for ACT and SPT.")
    ] = "planck2018",
    unlensed: Annotated[bool, typer.Option(help="Spectra before lensing (Boltzmann codes).")] = False,
    primordial: PrimordialOption = None,
    transfer: TransferOption = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="STEM", help="With --primordial: STEM.png, .pdf, .csv with the change of the spectra."
        ),
    ] = None,
) -> None:
    """Compute CMB spectra, lensed unless asked otherwise, and write them as text.

    The file's header names the columns (ell tt te ee bb pp); rows are D_l in uK^2 from l = 2. What a
    code does not give is left out. Settings follow Planck 2018: one 0.06 eV
    neutrino, RECFAST, HMcode 2016; FILE.json beside it records them and the derived parameters. The
    Boltzmann codes also take mnu, nnu, omk, w, wa, YHe, nrun, Alens, r and nt; of these the emulators those of
    `cmbfit emulator info`.

    With --primordial, P(k) is a registered model's and spectra depart from those of a power law: with
    --transfer in a second, else by CAMB in half a minute.

    Example: cmbfit theory --code camb --set ombh2=0.02237 --set omch2=0.12 --set H0=67.36
    --set tau=0.0544 --set logA=3.044 --set ns=0.9649 -o spectra.txt
    """
    given = assignments(values, "--set")
    if primordial is None:
        if transfer is not None or figure is not None:
            raise ConfigError("--transfer and --figure belong to --primordial NAME")
        spectra, settings = compute_spectra(code, given, lmax, emulator, preset, lensed=not unlensed)
    else:
        if unlensed or code is Code.class_:
            raise ConfigError("--primordial gives lensed spectra by CAMB, or by the emulator with --transfer")
        got = _departure(primordial, given, lmax, emulator, preset, transfer)
        if figure is not None:
            _save_imprint(got, figure, primordial)
        spectra, settings = got.spectra, got.settings
    from cmbfit.theory.textfile import write_spectrum  # noqa: PLC0415 (torch: a mistake shows before it)

    write_spectrum(output, spectra)
    parameters = {name: x.item() for name, x in spectra.parameters.items()}
    publish_record(output, settings=settings, parameters=parameters)
    say(f"wrote {output}: l = 2..{lmax}, {' '.join(p for p in spectra.dl)}", err=True)


def _departure(
    name: str, values: dict[str, float], lmax: int, emulator: str | None, preset: str, transfer: Path | None
) -> Departure:
    from cmbfit.theory.primordial_spectra import (  # noqa: PLC0415
        departure_by_camb,
        departure_by_transfer,
        scalar_model,
    )

    model = scalar_model(name)
    if transfer is None:
        return departure_by_camb(model, values, lmax, preset)
    from cmbfit.fit.build import primordial_theory  # noqa: PLC0415

    theory = primordial_theory(
        {"primordial": name, "emulator": emulator or "lcdm_planck2018", "transfer": str(transfer)}
    )
    return departure_by_transfer(theory, values, lmax)


def _save_imprint(got: Departure, stem: Path, title: str) -> None:
    """Publish a figure of the model's spectra and of their ratio to the power law's."""
    from cmbfit.figures.imprint import imprint_table, plot_imprint  # noqa: PLC0415 (matplotlib)
    from cmbfit.figures.style import save_figure  # noqa: PLC0415

    table = imprint_table(got.spectra, got.smooth)
    save_figure(plot_imprint(table, title), stem, table)
