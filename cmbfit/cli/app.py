"""The command line: one stage at a time."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmbfit import __version__
from cmbfit.cli import check, compare, data, early, emulator, fit, init, provenance, run, spectra, trust
from cmbfit.errors import CmbfitError, ConfigError, LikelihoodError, ParameterError, SpectrumError
from cmbfit.io import publish_record

if TYPE_CHECKING:
    from cmbfit.theory.spectra import Spectra

app = typer.Typer(
    help="From CMB maps to the physics of the early universe: data, theory spectra, likelihoods.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(data.app, name="data")
app.add_typer(emulator.app, name="emulator")
app.add_typer(fit.bench, name="bench")
app.command()(init.init)
app.command()(check.check)
app.command()(run.run)
app.command()(trust.trust)
app.command()(fit.fit)
app.command()(compare.compare)
app.command()(spectra.spectra)
app.command()(provenance.reproduce)
app.command()(provenance.cite)
app.command()(early.firas)
app.command()(early.hawking)
app.add_typer(early.primordial_app, name="primordial")


class Code(StrEnum):
    """Where theory spectra come from."""

    camb = "camb"
    class_ = "class"
    emulator = "emulator"


SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A cosmological parameter: ombh2, omch2, theta_mc (or theta_MC_100, cosmomc_theta, H0), tau, "
        "logA (or As), ns. Repeat for each.",
    ),
]
EmulatorOption = Annotated[
    str, typer.Option("--emulator", help="Name of a shipped emulator, or a bundle's folder.")
]


def _assignments(words: Sequence[str] | None, option: str) -> dict[str, float]:
    """Parse NAME=VALUE words."""
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


def _compute_spectra(
    code: Code,
    values: dict[str, float],
    lmax: int,
    emulator: str,
    preset: str = "planck2018",
    *,
    lensed: bool = True,
) -> tuple[Spectra, dict[str, Any]]:
    """Return spectra up to `lmax` and the settings behind them."""
    # torch and CAMB take seconds to import: not for `--help`
    from cmbfit.theory.base import Theory, point_from_values  # noqa: PLC0415
    from cmbfit.theory.extensions import EXTENSIONS  # noqa: PLC0415
    from cmbfit.theory.spectra import Spectra  # noqa: PLC0415

    theory: Theory
    extra = [name for name in values if name in EXTENSIONS]
    if code is Code.camb:
        from cmbfit.theory.camb_code import CambTheory, get_preset  # noqa: PLC0415

        settings = get_preset(preset)
        # below the preset's lmax the spectra are cut, not recomputed: numbers do not depend on --lmax
        if lmax > settings.lmax:
            accuracy = max(settings.lens_potential_accuracy, (lmax - 1500) / 500)
            settings = dataclasses.replace(settings, lmax=lmax, lens_potential_accuracy=accuracy)
        theory = CambTheory(settings, extra, lensed=lensed)
    elif code is Code.class_:
        from cmbfit.theory import class_code  # noqa: PLC0415

        of_class = class_code.get_preset(preset)
        if lmax > of_class.lmax:
            of_class = dataclasses.replace(of_class, lmax=lmax)
        theory = class_code.ClassTheory(of_class, extra, lensed=lensed)
    else:
        if not lensed or preset != "planck2018":
            raise ConfigError(
                "--unlensed and --preset need a Boltzmann code: add --code camb or --code class "
                "(an emulator holds the settings that it was trained with)"
            )
        from cmbfit.theory.emulator.bundle import load_emulator  # noqa: PLC0415

        theory = load_emulator(emulator)
    if not 2 <= lmax <= theory.lmax:
        raise SpectrumError(f"--lmax: expected 2..{theory.lmax} for {code.value}, found {lmax}")
    got = theory.spectra(point_from_values(theory, values))
    return Spectra({p: x[:, : lmax + 1] for p, x in got.dl.items()}, got.parameters), theory.settings


@app.command()
def theory(
    output: Annotated[Path, typer.Option("--output", "-o", help="Text file to write.")],
    code: Annotated[
        Code, typer.Option(help="CAMB or CLASS (seconds, exact) or the emulator (instant).")
    ] = Code.emulator,
    values: SetOption = None,
    lmax: Annotated[int, typer.Option(help="Largest multipole.")] = 2508,
    emulator: EmulatorOption = "lcdm_planck2018",
    preset: Annotated[
        str, typer.Option(help="Pinned settings of the Boltzmann code: planck2018, or high for ACT and SPT.")
    ] = "planck2018",
    unlensed: Annotated[bool, typer.Option(help="Spectra before lensing (Boltzmann codes).")] = False,
    primordial: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A primordial model (`cmbfit primordial list`); --set takes its parameters."
        ),
    ] = None,
    transfer: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a run's transfer functions: --primordial in a second; else CAMB, half a minute."
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="STEM", help="With --primordial: STEM.png, .pdf, .csv with the change of the spectra."
        ),
    ] = None,
) -> None:
    """Compute CMB spectra, lensed unless asked otherwise, and write them as text.

    The file's header names the columns (ell tt te ee bb pp); rows are D_l in uK^2 from l = 2. What a
    code does not give (the emulator has no bb) is left out. Settings follow Planck 2018: one 0.06 eV
    neutrino, RECFAST, HMcode 2016; FILE.json beside it records them and the derived parameters. The
    Boltzmann codes also take mnu, nnu, omk, w, wa, YHe, nrun, Alens, r and nt.

    With --primordial, P(k) is a registered model's and spectra depart from those of a power law.

    Example: cmbfit theory --code camb --set ombh2=0.02237 --set omch2=0.12 --set H0=67.36
    --set tau=0.0544 --set logA=3.044 --set ns=0.9649 -o spectra.txt
    """
    from cmbfit.theory.textfile import write_spectrum  # noqa: PLC0415

    given = _assignments(values, "--set")
    if primordial is None:
        if transfer is not None or figure is not None:
            raise ConfigError("--transfer and --figure belong to --primordial NAME")
        spectra, settings = _compute_spectra(code, given, lmax, emulator, preset, lensed=not unlensed)
    else:
        from cmbfit.cli.primordial import primordial_spectra, save_imprint  # noqa: PLC0415

        if unlensed or code is Code.class_:
            raise ConfigError("--primordial gives lensed spectra by CAMB, or by the emulator with --transfer")
        spectra, smooth, settings = primordial_spectra(primordial, given, lmax, emulator, preset, transfer)
        if figure is not None:
            save_imprint(spectra, smooth, figure, primordial)
    write_spectrum(output, spectra)
    parameters = {name: x.item() for name, x in spectra.parameters.items()}
    publish_record(output, settings=settings, parameters=parameters)
    typer.echo(f"wrote {output}: l = 2..{lmax}, {' '.join(p for p in spectra.dl)}", err=True)


@app.command()
def loglike(
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="NAME",
            help="Data set, combination (p_act), candl definition (FILE.yaml) or SACC file (FILE.fits, with "
            "--unit); options as in a configuration: '{NAME: {cuts: {tt: [30, 1000]}}}'. Repeat for several.",
        ),
    ],
    spectrum: Annotated[
        Path | None, typer.Option(help="Text file of D_l [uK^2] from l = 2, columns named in its header.")
    ] = None,
    values: SetOption = None,
    nuisance: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Nuisance parameter; default: the mean of its prior."),
    ] = None,
    code: Annotated[Code, typer.Option(help="Where spectra come from with --set.")] = Code.emulator,
    emulator: EmulatorOption = "lcdm_planck2018",
    unit: Annotated[str | None, typer.Option(help="dl or cl [uK^2]: what SACC files hold.")] = None,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Compare each data set with its published number first.")
    ] = False,
) -> None:
    """Print ln L and chi2 of data sets as JSON, for given spectra or parameters.

    `log_like` and `chi2` = -2 log_like hold the likelihood alone; the nuisance priors stand apart
    under `log_prior`.

    Example: cmbfit loglike --data planck2018_plik_lite_ttteee --spectrum spectra.txt
    """
    import torch  # noqa: PLC0415

    from cmbfit.likelihood import Gaussian  # noqa: PLC0415
    from cmbfit.likelihood.build import likelihoods_from_config  # noqa: PLC0415
    from cmbfit.likelihood.datasets import check_reference, reference_of  # noqa: PLC0415
    from cmbfit.likelihood.priors import sum_log_prior  # noqa: PLC0415
    from cmbfit.likelihood.selection import read_words, select  # noqa: PLC0415
    from cmbfit.theory.parameters import unknown_name  # noqa: PLC0415
    from cmbfit.theory.textfile import read_spectrum  # noqa: PLC0415

    if (spectrum is None) == (not values):
        raise SpectrumError("give either --spectrum FILE or the parameters with --set, not both")
    items = read_words(data, unit)
    likelihoods = likelihoods_from_config({"data": items})
    checked: dict[str, float | None] = {}
    if self_check:
        for chosen, like in zip(select(items), likelihoods, strict=True):
            if chosen.kind == "dataset" and not chosen.options:
                checked[chosen.name] = check_reference(like, reference_of(chosen.name))
    priors = {name: prior for like in likelihoods for name, prior in like.info.nuisance.items()}
    joint = list(dict.fromkeys(prior for like in likelihoods for prior in like.info.joint_priors))
    given = _assignments(nuisance, "--nuisance")
    for name in given:
        if name not in priors:
            raise ParameterError(unknown_name("nuisance parameter", name, priors))
    calibrations = {n for like in likelihoods for n in like.settings().get("calibration", {})}
    if outside := [
        n
        for n, x in given.items()
        if not priors[n].support[0] <= x <= priors[n].support[1] or (n in calibrations and x <= 0)
    ]:
        raise ParameterError(
            f"nuisance parameter {outside[0]} = {given[outside[0]]:g} is outside its range (calibrations are positive)"
        )
    defaults = {n: p.mean if isinstance(p, Gaussian) else sum(p.support) / 2 for n, p in priors.items()}
    point = {name: torch.tensor([value], dtype=torch.float64) for name, value in (defaults | given).items()}
    if spectrum is not None:
        spectra = read_spectrum(spectrum)
    else:
        lmax = max(like.lmax for like in likelihoods)
        spectra, _ = _compute_spectra(code, _assignments(values, "--set"), lmax, emulator)
    terms = {like.info.name: like.log_prob(spectra, point).item() for like in likelihoods}
    if bad := [name for name, value in terms.items() if not abs(value) < float("inf")]:
        raise LikelihoodError(f"{bad[0]}: the spectra or nuisance values have zero probability")
    result: dict[str, object] = {name: {"log_like": x, "chi2": -2 * x} for name, x in terms.items()}
    result |= {
        "log_like": sum(terms.values()),
        "chi2": -2 * sum(terms.values()),
        "log_prior": sum_log_prior(point, priors, joint).item() if point else 0.0,
        "nuisance": {n: x.item() for n, x in point.items()},
    }
    if checked:
        result["self_check"] = checked
    typer.echo(json.dumps(result, indent=2))


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a typed error, or a file that cannot be had, prints one line and exits with 2."""
    try:
        app()
    except (CmbfitError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
