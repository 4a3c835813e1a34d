"""A run: its configuration and its completed fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cmbfit.config import load_config
from cmbfit.errors import ConfigError, at, unknown_name
from cmbfit.fit.blind import blind_of_fits, complete_blind
from cmbfit.fit.complete import complete_fit
from cmbfit.fit.defaults import Box
from cmbfit.fit.description import Fit
from cmbfit.theory.emulator.family import emulator_box
from cmbfit.theory.transfer.region import planned_box


@dataclass(frozen=True)
class Run:
    """A checked configuration.

    Attributes
    ----------
    config : mapping
        From :func:`cmbfit.config.load_config`.
    fits : mapping of str to Fit
        The completed fits of ``run.fits``, in their order.
    blinding : mapping or None
        Of a run with ``run.blind``: see :func:`cmbfit.fit.blind.complete_blind`.
    """

    config: Mapping[str, Any]
    fits: Mapping[str, Fit]
    blinding: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.config["run"]["name"])

    @property
    def folder(self) -> str:
        """Folder of its results."""
        return f"results/{self.name}"

    @property
    def seed(self) -> int:
        """Every random number derives from it."""
        return int(self.config["run"]["seed"])

    @property
    def device(self) -> str:
        """``auto``, ``cpu`` or ``cuda``."""
        return str(self.config["device"])


def load_run(
    files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    *,
    fits: Sequence[str] | None = None,
    transfer: str | Path | None = None,
) -> Run:
    """Return a run from configuration files.

    Parameters
    ----------
    files, overrides
        See :func:`cmbfit.config.load_config`.
    fits : sequence of str, optional
        Fits that are wanted instead of ``run.fits``.
    transfer : path, optional
        Finished transfer functions for every primordial fit, in place of those that the run makes.
    """
    return complete_run(load_config(files, overrides), fits=fits, transfer=transfer)


def complete_run(
    config: Mapping[str, Any], *, fits: Sequence[str] | None = None, transfer: str | Path | None = None
) -> Run:
    """Return the run of a configuration that :func:`cmbfit.config.load_config` gave."""
    names = list(config["run"]["fits"]) if fits is None else list(fits)
    for name in names:
        if name not in config["fits"]:
            raise ConfigError(f"run.fits: {unknown_name('fit', name, config['fits'])}")
    _check_evidence(config)
    run = Run(config, {}, complete_blind(config, emulator_of_run(config)[1]))
    return replace(run, fits={name: fit_of_run(run, name, transfer) for name in names})


def _check_evidence(config: Mapping[str, Any]) -> None:
    from cmbfit.inference.evidence import check_evidence  # noqa: PLC0415 (lies further down the road)

    check_evidence(config["comparison"]["evidence"])


def fit_of_run(run: Run, name: str, transfer: str | Path | None = None, *, run_code: bool = True) -> Fit:
    """Return a completed fit of a run's configuration, whether or not the run has it in ``run.fits``."""
    section, made = run.config["fits"][name], run.config["theory"].get("transfer")
    if transfer is not None and "primordial" in section.get("theory", {}):
        section = {**section, "theory": {**section["theory"], "transfer": str(transfer)}}
    emulator, box = emulator_of_run(run.config)
    fit = complete_fit(
        name,
        section,
        emulator,
        box=box,
        transfer=None if made is None else f"{run.folder}/theory/transfer",
        transfer_box=None if made is None else planned_box(made),
        own_spectra=own_spectra_of(run),
        blind=blind_of_fits(run.blinding),
        run_code=run_code,
    )
    _enough_draws(fit, run.config["theory"]["emulator"]["check"]["draws"])
    return fit


def emulator_of_run(config: Mapping[str, Any]) -> tuple[str, Box]:
    """Return the shipped name or folder of a run's emulator, and its range; of one that is to be trained the planned one."""
    section = config["theory"]["emulator"]
    if train := section.get("train"):
        box = {p: (float(x[0]), float(x[1])) for p, x in train["design"]["box"].items()}
        return f"results/{config['run']['name']}/theory/emulator", box
    with at("theory.emulator.bundle"):
        return section["bundle"], emulator_box(section["bundle"])


def own_spectra_of(run: Run) -> dict[str, Any] | None:
    """Return where a run's own spectra lie and how they are fitted; None if its configuration does not say."""
    options = run.config["spectra"].get("likelihood")
    if options is None:
        return None
    many = "fields" in run.config["maps"]
    pair = "combined" if many else "x".join(run.config["spectra"]["pair"])
    return {**options, "path": f"{run.folder}/spectra/{pair}.sacc.fits", "survey": run.name}


def _enough_draws(fit: Fit, draws: int) -> None:
    """Re-weighting fits a line through the draws: it needs twice as many points as coefficients."""
    needed = 2 * (len(fit.start) + 1)
    if draws < needed:
        raise ConfigError(
            f"theory.emulator.check.draws: {draws}, but fit {fit.name} has {len(fit.start)} parameters or more: expected at "
            f"least {needed}"
        )
