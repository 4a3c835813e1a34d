"""``cmbfit init``: a small configuration to start from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from cmbfit.cli.words import say
from cmbfit.errors import CmbfitError, ConfigError, WriteError
from cmbfit.io import write_text

_HEAD = """\
# {name}: keys that differ from the default run's (`cmbfit check {file}` says what is run).
# cmbfit run {file} --cores 4      the whole workflow: chains, checks, figures, report in results/{name}
# cmbfit fit {file} --quick        best fit and normal errors in a second
run:
  name: {name}
  seed: 20260101           # every random number of the run derives from it
"""

_MAPS = """
maps:                      # yours: register each file (`cmbfit data pin`, CMBFIT_REGISTRY), then write its name
  mask: wmap7/wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits
  declare: {coord: G, unit: mK}   # only what the files' headers do not say
  apodisation: {type: C2, degrees: 0.0}
  pixel_window: pixel_windows/pixel_window_n0032.fits   # of the maps' nside
  bands:                   # maps with independent noise
    V: {map: wmap7/wmap_band_iqumap_r9_7yr_V_v4_udgraded32.fits, fwhm_arcmin: 21.0}
    W: {map: wmap7/wmap_band_iqumap_r9_7yr_W_v4_udgraded32.fits, fwhm_arcmin: 13.2}

spectra:
  pair: [V, W]             # their cross-spectrum
  edges: [2, 5, 9, 14, 20, 27, 35, 44, 54, 65]   # half-open bins in multipole
  likelihood:              # how these spectra are fitted as the data set own_spectra
    pairs: [tt]
    ranges: {tt: [20, 64]}   # below, bandpowers are not Gaussian
"""

_FITS = """
fits:                      # priors, starts and the sampler have defaults
  {fit}:
    data: [{data}]   # names of `cmbfit data sets`, or your own files
{theory}    # priors:              # flat within the theory's range where nothing is said
    #   tau: {{gaussian: [0.054, 0.007]}}
    # sampler: {{kind: emcee, walkers: 128}}
"""


def init(
    name: Annotated[str, typer.Argument(help="Of the run; NAME.yaml is written.")] = "mine",
    data: Annotated[
        list[str] | None,
        typer.Option(help="A data set or combination (`cmbfit data sets`); repeat. Default: planck2018."),
    ] = None,
    emulator: Annotated[
        str | None,
        typer.Option(help="A shipped emulator's name or a bundle's folder; default: one that reaches."),
    ] = None,
    extension: Annotated[
        list[str] | None, typer.Option(help="A parameter beyond LCDM (mnu, nnu, ...); repeat for several.")
    ] = None,
    primordial: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A primordial model (`cmbfit primordial list`).")
    ] = None,
    maps: Annotated[bool, typer.Option("--maps", help="Spectra of your own maps, and their fit.")] = False,
) -> None:
    """Write a small configuration with comments, NAME.yaml, which `cmbfit check` finds nothing wrong with.

    Example: cmbfit init mine --data p_act
    """
    import yaml  # noqa: PLC0415 (not for --help)

    path = Path(f"{name}.yaml")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or yaml.safe_load(name) != name:
        raise ConfigError(f"cmbfit init: expected a name of letters, digits, dots and dashes, found {name!r}")
    if path.exists():
        raise WriteError(f"{path}: is there already; choose another name (cmbfit init NAME) or remove it")
    text = configuration(
        name, data or (), emulator=emulator, extensions=extension or (), primordial=primordial, maps=maps
    )
    write_text(path, text)
    say(f"wrote {path}; cmbfit check {path} says what it runs")


def configuration(
    name: str,
    data: list[str] | tuple[str, ...] = (),
    *,
    emulator: str | None = None,
    extensions: list[str] | tuple[str, ...] = (),
    primordial: str | None = None,
    maps: bool = False,
) -> str:
    """Return the text of a configuration.

    Raises
    ------
    ConfigError
        For an unknown name, or extensions that no emulator covers.
    """
    wanted = list(data) or (["own_spectra", "tau_lowe"] if maps else ["planck2018"])
    if primordial is not None:
        if extensions:
            raise ConfigError("cmbfit init: --primordial and --extension are two theories; give one of them")
        _require_model(primordial)
    emulator = emulator or _emulator_of(wanted)
    if extensions:
        _require_extensions(extensions, emulator)
    theory = "\ntheory:\n"
    if primordial is not None:
        theory += (
            "  transfer: {parts: 2}    # transfer functions around a fit: CAMB at 26 cosmologies, once\n"
        )
    theory += f"  emulator: {{bundle: {emulator}}}\n"
    of_fit = f"    theory: {{primordial: {primordial}}}\n" if primordial else ""
    if extensions:
        of_fit = (
            f"    theory: {{extends: [{', '.join(extensions)}]}}   # the shipped emulator that has them\n"
        )
    fits = _FITS.format(
        fit=primordial or "_".join(extensions) or "lcdm", data=", ".join(wanted), theory=of_fit
    )
    return _HEAD.format(name=name, file=f"{name}.yaml") + (_MAPS if maps else "") + theory + fits


def _emulator_of(wanted: list[str]) -> str:
    """Return the shipped emulator that reaches the data's multipoles; both know LCDM alone."""
    from cmbfit.likelihood.datasets.load import description  # noqa: PLC0415 (torch)
    from cmbfit.likelihood.selection import select  # noqa: PLC0415

    top = 0
    for selection in select(wanted):
        if selection.kind == "dataset":
            sky = description(selection.name)["sky"]
            top = max([top, *(high for pairs in sky.values() for _, high in pairs.values())])
    return "lcdm_planck2018" if top <= 2600 else "lcdm_high"


def _require_model(name: str) -> None:
    from cmbfit.theory.primordial import get_model  # noqa: PLC0415 (torch)

    try:
        get_model(name)
    except CmbfitError as error:
        raise ConfigError(f"--primordial: {error}") from error


def _require_extensions(names: list[str] | tuple[str, ...], emulator: str) -> None:
    from cmbfit.theory.emulator.family import emulator_that_extends  # noqa: PLC0415

    try:
        emulator_that_extends(names, emulator)
    except CmbfitError as error:
        raise ConfigError(f"--extension: {error}") from error
