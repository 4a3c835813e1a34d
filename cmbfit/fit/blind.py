"""Blinding: every data set of a run is moved by what a hidden shift of the parameters does to it.

Muir et al. 2020 (MNRAS 494, 4454, arXiv:1911.05929): the data d become d + m(reference + shift) - m(reference). The best fit
moves by about the shift, and chi2 stays, exactly for a model that is linear in its parameters. The data are moved where a fit's
data sets are built and nowhere else, so that whatever follows from them (chains, evidences, predictive checks, re-weighting,
residuals, tensions, quick fits) sees the same ones, and the numbers of the true data are never computed.

m is the run's emulator, for all fits alike: models of the same data stay comparable. Nuisance parameters are at the centres of
their priors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from cmbfit.errors import ConfigError, LikelihoodError, unknown_name
from cmbfit.fit.defaults import STARTS, Box, default_start
from cmbfit.fit.secret import Secret, opening, read_secret, secret_of
from cmbfit.likelihood.base import Likelihood
from cmbfit.theory.extensions import EXTENSIONS

if TYPE_CHECKING:
    from cmbfit.fit.description import Fit

_NOT_SHIFTED = (
    "run.blind: {name} cannot be shifted: its ln L is no function of data minus model, so that chi2 would not stay. Leave it "
    "out of blinded fits, or take a data set that can be shifted in its place (tau_lowe or planck2018_lowl_ee for low-l EE); "
    "a likelihood of your own has a method `shifted(spectra, nuisance)` (docs/methods/blinding.md)"
)


def planned_blind(config: Mapping[str, Any], box: Box) -> tuple[str, dict[str, Any]] | None:
    """Return the secret's name and the completed section ``run.blind``, without any secret; None for a run that is not blinded.

    Parameters
    ----------
    config : mapping
        The run's configuration.
    box : mapping
        Parameters and range of the run's emulator.

    Raises
    ------
    ConfigError
        For a parameter that the emulator does not have, or shifts that leave its range.
    """
    section = config["run"].get("blind")
    if section is None:
        return None
    if section.get("form", "data") == "parameters":
        raise ConfigError(
            "run.blind.form: parameters is not offered: derived parameters, spectra, residuals and exact re-weighting would "
            "each have to be shifted alike, and the first that is not gives the shift away; form: data moves what all of them "
            "are made of"
        )
    shift = {p: float(x) for p, x in section["shift"].items()}
    reference = _reference(section.get("reference", {}), box)
    for p, size in shift.items():
        if p not in box:
            raise ConfigError(f"run.blind.shift: {unknown_name('parameter of the emulator', p, box)}")
        low, high = box[p]
        if not low <= reference[p] - size < reference[p] + size <= high:
            raise ConfigError(
                f"run.blind.shift.{p}: {reference[p]:g} +- {size:g} leaves the emulator's [{low:g}, {high:g}]; make it smaller"
            )
    criteria = {"checks": ["*"], **section.get("criteria", {})}
    name = section.get("secret", config["run"]["name"])
    return name, {"shift": shift, "reference": reference, "criteria": criteria}


def complete_blind(config: Mapping[str, Any], box: Box) -> dict[str, Any] | None:
    """Return a run's blinding; the secret is made if there is none yet. Arguments and errors as of :func:`planned_blind`.

    Returns
    -------
    dict or None
        ``secret`` (its name), ``commitment`` (its sha256), ``shift`` (largest, by parameter), ``reference``, ``criteria``,
        ``frozen`` (sha256 and time) and ``opened``: None, or the record of the unblinding.

    Raises
    ------
    DataError
        If the secret is damaged or others may read it.
    """
    if (planned := planned_blind(config, box)) is None:
        return None
    name, section = planned
    secret = secret_of(name, section)
    opened = opening(name)
    if opened is not None and opened["commitment"] != secret.commitment:
        raise ConfigError(
            f"run.blind: the record of the opening of {name} is of another secret; restore either"
        )
    return {
        "secret": name,
        "commitment": secret.commitment,
        **section,
        "frozen": {k: secret.frozen[k] for k in ("sha256", "time")},
        "opened": opened,
    }


def _reference(given: Mapping[str, float], box: Box) -> dict[str, float]:
    """Return the point around which data are shifted: what is given, else Planck 2018's means, LCDM, the middle."""
    if unknown := [p for p in given if p not in box]:
        raise ConfigError(
            f"run.blind.reference: {unknown_name('parameter of the emulator', unknown[0], box)}"
        )
    out = {}
    for p, (low, high) in box.items():
        known = STARTS[p][0] if p in STARTS else EXTENSIONS[p].default if p in EXTENSIONS else None
        usual = (low + high) / 2 if known is None else known
        out[p] = float(given.get(p, min(max(usual, low), high)))
        if not low <= out[p] <= high:
            raise ConfigError(
                f"run.blind.reference.{p}: {out[p]:g} lies outside the emulator's [{low:g}, {high:g}]"
            )
    return out


def blind_of_fits(blinding: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a fit carries: None where nothing is hidden, or no more."""
    if blinding is None or blinding["opened"] is not None:
        return None
    return {k: blinding[k] for k in ("secret", "commitment", "shift", "reference")}


def hidden_shift(secret: Secret, sizes: Mapping[str, float]) -> dict[str, float]:
    """Return the shift of each parameter, in its own units."""
    return {p: size * secret.fraction(p) for p, size in sizes.items()}


def blind_likelihoods(fit: Fit, likelihoods: Sequence[Likelihood]) -> list[Likelihood]:
    """Return a fit's data sets, moved by the hidden shift if the fit is blinded.

    Raises
    ------
    LikelihoodError
        If a data set cannot be shifted.
    DataError
        If the secret is not there.
    ConfigError
        If it is another one than the run's.
    """
    if fit.blind is None:
        return list(likelihoods)
    if fixed := [x.info.name for x in likelihoods if not hasattr(x, "shifted")]:
        raise LikelihoodError(_NOT_SHIFTED.format(name=fixed[0]))
    secret = read_secret(fit.blind["secret"])
    if secret.commitment != fit.blind["commitment"]:
        raise ConfigError(
            f"run.blind: the secret {secret.name} is not the one that fit {fit.name} was blinded with (sha256 "
            f"{fit.blind['commitment'][:12]}); restore that one"
        )
    return shift_likelihoods(
        likelihoods,
        fit.theory["emulator"],
        fit.blind["reference"],
        hidden_shift(secret, fit.blind["shift"]),
        mark=secret.commitment,
    )


def shift_likelihoods(
    likelihoods: Sequence[Any],
    emulator: str,
    reference: Mapping[str, float],
    shift: Mapping[str, float],
    *,
    mark: str,
) -> list[Likelihood]:
    """Return data sets moved by what a shift of parameters does to them.

    Parameters
    ----------
    likelihoods : sequence of Likelihood
        Each with a method ``shifted``.
    emulator : str
        Shipped name or folder.
    reference : mapping of str to float
        A value of each of the emulator's parameters.
    shift : mapping of str to float
        Of some of them.
    mark : str
        What their settings carry as ``blinded``: chains of other data are others.
    """
    from cmbfit.theory.emulator.bundle import load_emulator  # noqa: PLC0415 (not for those who complete a fit)
    from cmbfit.theory.extrapolation import extrapolate_to  # noqa: PLC0415

    lmax = max((like.lmax for like in likelihoods), default=0)
    theory = extrapolate_to(load_emulator(emulator), lmax)
    point = torch.tensor(
        [[reference[p] + k * shift.get(p, 0.0) for p in theory.parameters] for k in (0, 1)],
        dtype=torch.float64,
    )
    out: list[Likelihood] = []
    with torch.no_grad():
        spectra = theory.spectra(point)
        for like in likelihoods:
            nuisance = {
                p: torch.full((2,), default_start(p, prior)[0], dtype=torch.float64)
                for p, prior in like.info.nuisance.items()
            }
            moved = like.shifted(spectra, nuisance)
            vars(moved)["blinded"] = mark
            out.append(moved)
    return out
