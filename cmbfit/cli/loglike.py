"""``cmbfit loglike``: ln L of data sets at one point, as the fit of these data has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmbfit.cli.codes import Code, boltzmann_theory
from cmbfit.cli.words import (
    AllowCodeOption,
    FamilyOption,
    PrimordialOption,
    SetOption,
    TransferOption,
    assignments,
    say,
)
from cmbfit.errors import ConfigError, LikelihoodError, ParameterError, SpectrumError, unknown_name

if TYPE_CHECKING:
    from cmbfit.likelihood.base import Likelihood
    from cmbfit.likelihood.priors import Prior
    from cmbfit.theory.spectra import Spectra


def loglike(
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="NAME",
            help="Data set, combination (p_act), description or candl definition (FILE.yaml) or SACC file (FILE.fits, FILE.h5; "
            "with --unit unless cmbfit wrote it); options as in a configuration: '{NAME: {cuts: {tt: [30, 1000]}}}'. Repeat for several.",
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
    emulator: FamilyOption = None,
    primordial: PrimordialOption = None,
    transfer: TransferOption = None,
    evaporation: Annotated[
        float | None, typer.Option(metavar="GRAMS", help="Evaporating black holes of this mass; --set f_pbh.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="dl or cl [uK^2]: what other programs' SACC files hold.")
    ] = None,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Compare each data set with its published number first.")
    ] = False,
    allow_code: AllowCodeOption = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Print ln L and chi2 of data sets as JSON, for given spectra or parameters.

    `log_like` and `chi2` = -2 log_like hold the likelihood alone; the nuisance priors stand apart
    under `log_prior`. With --set and an emulator it is the ln L of a fit of these data.

    Example: cmbfit loglike --data planck2018_plik_lite_ttteee --spectrum spectra.txt
    """
    if spectrum is not None and values:
        raise SpectrumError("give either --spectrum FILE or the parameters with --set, not both")
    if spectrum is None and not values:
        raise SpectrumError(
            "spectra are missing: give --spectrum FILE, or --set NAME=VALUE for each parameter of the theory"
        )
    special = {
        k: v for k, v in {"primordial": primordial, "evaporation": evaporation}.items() if v is not None
    }
    if special and (spectrum is not None or code is not Code.emulator):
        raise ConfigError(f"--{next(iter(special))} takes an emulator's parameters: give them with --set")
    named, extra = assignments(values, "--set"), assignments(nuisance, "--nuisance")
    from cmbfit.fit.build import load_data  # noqa: PLC0415 (torch: a mistake shows before it)
    from cmbfit.likelihood.selection import read_words  # noqa: PLC0415

    items = read_words(data, unit)
    if spectrum is not None:
        from cmbfit.theory.textfile import read_spectrum  # noqa: PLC0415

        spectra, likelihoods = read_spectrum(spectrum), load_data(items)
    elif code is Code.emulator:
        theory = special | ({} if transfer is None else {"transfer": str(transfer)})
        spectra, likelihoods = _by_fit(items, theory, emulator, named)
    else:
        likelihoods = load_data(items)
        spectra = _by_boltzmann(code, named, max(like.lmax for like in likelihoods))
    checked = _self_check(items, likelihoods) if self_check else {}
    result = _evaluate(likelihoods, spectra, extra) | ({"self_check": checked} if checked else {})
    say(json.dumps(result, indent=2))


def _by_fit(
    items: Sequence[Any], theory: Mapping[str, Any], emulator: str | None, values: Mapping[str, float]
) -> tuple[Spectra, list[Likelihood]]:
    """Return spectra and data of the fit that these words describe."""
    from cmbfit.fit.build import build_likelihoods, build_theory  # noqa: PLC0415
    from cmbfit.fit.complete import complete_fit  # noqa: PLC0415
    from cmbfit.theory.base import point_from_values  # noqa: PLC0415
    from cmbfit.theory.emulator.family import asked_for  # noqa: PLC0415

    if emulator is None and not theory and (extra := asked_for(values)):
        theory = {"extends": list(extra)}
    fit = complete_fit(
        "loglike", {"data": list(items), "theory": dict(theory)}, emulator or "lcdm_planck2018"
    )
    likelihoods = build_likelihoods(fit)
    made = build_theory(fit, lmax=max(like.lmax for like in likelihoods))
    if fit.primordial is not None:
        from cmbfit.theory.primordial_spectra import scalar_model, with_defaults  # noqa: PLC0415

        values = with_defaults(scalar_model(fit.primordial), values)
    return made.spectra(point_from_values(made, values)), likelihoods


def _by_boltzmann(code: Code, values: Mapping[str, float], lmax: int) -> Spectra:
    from cmbfit.theory.base import point_from_values  # noqa: PLC0415

    theory = boltzmann_theory(code, values, lmax, "planck2018", lensed=True)
    return theory.spectra(point_from_values(theory, values))


def _self_check(items: Sequence[Any], likelihoods: Sequence[Likelihood]) -> dict[str, float | None]:
    from cmbfit.likelihood.datasets import check_reference, reference_of  # noqa: PLC0415
    from cmbfit.likelihood.selection import select  # noqa: PLC0415

    return {
        chosen.name: check_reference(like, reference_of(chosen.name))
        for chosen, like in zip(select(items), likelihoods, strict=True)
        if chosen.kind == "dataset" and not chosen.options
    }


def _evaluate(
    likelihoods: Sequence[Likelihood], spectra: Spectra, given: Mapping[str, float]
) -> dict[str, Any]:
    import torch  # noqa: PLC0415

    from cmbfit.likelihood.priors import sum_log_prior  # noqa: PLC0415
    from cmbfit.likelihood.shared_priors import shared_priors  # noqa: PLC0415

    priors, joint = shared_priors(likelihoods)
    calibrations = {n for like in likelihoods for n in like.settings().get("calibration", {})}
    values = {n: _value(n, p, given, calibrated=n in calibrations) for n, p in priors.items()}
    if unknown := [n for n in given if n not in priors]:
        raise ParameterError(unknown_name("nuisance parameter", unknown[0], priors))
    point = {n: torch.tensor([x], dtype=torch.float64) for n, x in values.items()}
    with torch.no_grad():
        terms = {like.info.name: like.log_prob(spectra, point).item() for like in likelihoods}
    if bad := [name for name, value in terms.items() if not abs(value) < float("inf")]:
        raise LikelihoodError(f"{bad[0]}: the spectra or nuisance values have zero probability")
    total = sum(terms.values())
    return {
        **{name: {"log_like": x, "chi2": -2 * x} for name, x in terms.items()},
        "log_like": total,
        "chi2": -2 * total,
        "log_prior": sum_log_prior(point, priors, joint).item() if point else 0.0,
        "nuisance": values,
    }


def _value(name: str, prior: Prior, given: Mapping[str, float], *, calibrated: bool) -> float:
    """Return a nuisance parameter's value: what is given, else the middle of its prior."""
    low, high = prior.support
    if name not in given:
        return float(getattr(prior, "mean", (low + high) / 2))
    if not low <= given[name] <= high or (calibrated and given[name] <= 0):
        raise ParameterError(
            f"nuisance parameter {name} = {given[name]:g} is outside its range (calibrations are positive)"
        )
    return given[name]
