"""The one function that makes a posterior of a fit, and its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbfit.device import pick_device
from cmbfit.errors import ConfigError, LikelihoodError
from cmbfit.fit.blind import blind_likelihoods
from cmbfit.fit.defaults import default_start
from cmbfit.fit.description import Fit
from cmbfit.fit.theory import class_theory
from cmbfit.likelihood.base import DataSetInfo, Likelihood, measures_tau, refuse_double_counting
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Uniform, prior_from_config
from cmbfit.likelihood.selection import Selection, select
from cmbfit.theory.base import Theory
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.correction import CorrectedEmulator
from cmbfit.theory.emulator.family import read_manifest
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.extrapolation import extrapolate_to

if TYPE_CHECKING:
    import torch

    from cmbfit.theory.primordial_theory import PrimordialTheory


def build_posterior(fit: Fit, device: str | torch.device = "cpu", *, fold: bool = True) -> Posterior:
    """Return a fit's posterior: theory, data sets and priors, its linear steps folded where that is possible.

    Parameters
    ----------
    fit : Fit
    device : str or torch.device
        ``auto``, ``cpu`` or ``cuda``, as a configuration says it; or a device.
    fold : bool
        False leaves the path through full spectra, many times slower.

    Raises
    ------
    ConfigError, LikelihoodError, DataError
        If parts do not fit together or a file is missing or altered.
    """
    likelihoods = build_likelihoods(fit)
    theory = build_theory(fit, lmax=max((like.lmax for like in likelihoods), default=0))
    _require_lensing(fit, theory, likelihoods)
    priors = {p: prior_from_config(p, spec) for p, spec in fit.priors.items()}
    for p in theory.parameters:  # of a user's own theory, whose parameters only its code knows
        priors.setdefault(p, Uniform(*theory.box[p]))
    posterior = Posterior(theory, likelihoods, priors)
    if fold:
        from cmbfit.likelihood.compiled import compile_if_possible  # noqa: PLC0415 (scipy)

        posterior = compile_if_possible(posterior)
    return posterior.to(pick_device(device) if isinstance(device, str) else device)


def build_theory(fit: Fit, lmax: int | None = None) -> Theory:
    """Return a fit's theory.

    Parameters
    ----------
    fit : Fit
    lmax : int, optional
        Largest multipole that its data need: windows of ground-based surveys reach beyond emulators, which are continued
        by a template there (:mod:`cmbfit.theory.extrapolation`). The theory's own range when omitted.

    Raises
    ------
    ConfigError
        If the transfer functions are not those of an expansion, or the emulator is not one that the theory can use.
    """
    section = fit.theory
    if "class" in section:
        theory: Theory = class_theory(section)
    elif "evaporation" in section:
        from cmbfit.theory.hawking.response import EvaporationTheory  # noqa: PLC0415 (as below)

        theory = EvaporationTheory(load_emulator(section["emulator"]), section["evaporation"])
    elif "primordial" in section:
        theory = primordial_theory(section)
    else:
        theory = load_emulator(section["emulator"])
    return theory if lmax is None else extrapolate_to(theory, lmax)


def primordial_theory(section: Mapping[str, Any]) -> PrimordialTheory:
    """Return the theory of a completed section with ``primordial``, ``transfer`` and ``emulator``."""
    from cmbfit.theory.primordial import get_model  # noqa: PLC0415
    from cmbfit.theory.primordial_theory import PrimordialTheory  # noqa: PLC0415
    from cmbfit.theory.tensor_spectra import TensorSpectra  # noqa: PLC0415
    from cmbfit.theory.transfer import TENSORS  # noqa: PLC0415
    from cmbfit.theory.transfer.expansion import TransferExpansion  # noqa: PLC0415
    from cmbfit.theory.transfer.operator import TransferOperator  # noqa: PLC0415
    from cmbfit.theory.transfer.store import read_transfer  # noqa: PLC0415

    folder = Path(section["transfer"])
    expansion = read_transfer(folder)
    if not isinstance(expansion, TransferExpansion):
        raise ConfigError(f"{folder}: expected a transfer expansion, found an operator of one cosmology")
    emulator = load_emulator(section["emulator"])
    if not isinstance(emulator, LinearEmulator):
        raise ConfigError(
            f"{section['emulator']}: primordial models need an LCDM emulator, not one with an extension"
        )
    tensors = None
    if "tensors" in section:
        operator = read_transfer(folder / TENSORS)
        if not isinstance(operator, TransferOperator):
            raise ConfigError(f"{folder / TENSORS}: expected an operator of tensors, found an expansion")
        tensors = TensorSpectra(get_model(section["tensors"]), operator)
    return PrimordialTheory(emulator, get_model(section["primordial"]), expansion, tensors)


def build_likelihoods(fit: Fit) -> list[Likelihood]:
    """Return a fit's data sets, in the order of ``data``; of a blinded run as :mod:`cmbfit.fit.blind` shifts them.

    Raises
    ------
    LikelihoodError
        If a data set is unknown, or two count the same sky.
    """
    likelihoods = load_data(fit.data, fit.own_spectra)
    infos = [like.info for like in likelihoods]
    _refuse_tau_twice(infos, fit.priors)
    return blind_likelihoods(fit, likelihoods)


def load_data(items: Sequence[Any], own_spectra: Mapping[str, Any] | None = None) -> list[Likelihood]:
    """Return the data sets of a list of data; two that count the same sky are refused.

    Parameters
    ----------
    items : sequence
        As :func:`cmbfit.likelihood.selection.select` takes them.
    own_spectra : mapping, optional
        See :class:`~cmbfit.fit.description.Fit`.
    """
    likelihoods = [_load(selection, own_spectra) for selection in select(items)]
    refuse_double_counting([like.info for like in likelihoods])
    return likelihoods


def _load(selection: Selection, own: Mapping[str, Any] | None) -> Likelihood:
    if selection.kind != "own":
        return selection.load()
    if not own:
        raise ConfigError("data: own_spectra, but nothing says where they are: they are made by a run")
    if not Path(own["path"]).is_file():
        raise ConfigError(
            f"data: own_spectra: {own['path']} is not there yet: it is made by the workflow (cmbfit run, snakemake)"
        )
    from cmbfit.likelihood.sacc_data import read_own_spectra  # noqa: PLC0415 (sacc imports pandas)

    ranges = {pair: (int(a), int(b)) for pair, (a, b) in own.get("ranges", {}).items()}
    return read_own_spectra(
        own["path"], selection.name, survey=own["survey"], pairs=own["pairs"], ranges=ranges
    )


def _refuse_tau_twice(infos: Sequence[DataSetInfo], priors: Mapping[str, Any]) -> None:
    """Refuse a Gaussian prior on tau, which is made from low-l EE, beside low-l EE itself."""
    if "gaussian" not in priors.get("tau", {}):
        return
    if twice := [info.name for info in infos if measures_tau(info) and not info.allow_overlap]:
        raise LikelihoodError(
            f"{twice[0]} measures tau by low-l EE, and priors: tau is Gaussian: the same measurement twice. Make the "
            "prior uniform, or leave the data set out (or give it allow_overlap with the reason)"
        )


LENSING_MARK = 0.1
"""Largest error of phi-phi at 99% (over cosmic variance, each L), at which lensing data are fitted with a corrected emulator: if it
is of one sign at all L it moves the amplitude that Planck or ACT measure by a tenth of their error."""


def _require_lensing(fit: Fit, theory: Theory, likelihoods: Sequence[Likelihood]) -> None:
    """Refuse lensing data with an extended emulator whose lensing potential misses :data:`LENSING_MARK`."""
    lensing = [like.info.name for like in likelihoods if "pp" in like.pairs]
    if (
        not lensing
        or "class" in fit.theory
        or not isinstance(getattr(theory, "theory", theory), CorrectedEmulator)
    ):
        return
    accuracy = read_manifest(fit.theory["emulator"])["accuracy"]
    part = accuracy.get("focus", accuracy)
    if (error := part["overall"]["pp"][2]) > LENSING_MARK:
        raise LikelihoodError(
            f"{lensing[0]}: needs the lensing potential, which {fit.theory['emulator']} has within {error:.2g} cosmic-variance sigma "
            f"at 99% of held-out models and multipoles, where {LENSING_MARK} is asked for; leave the data set out, extend "
            "the emulator by more runs (cmbfit emulator finetune), or take CAMB (theory: {class: camb, ...})"
        )


def start_point(fit: Fit, posterior: Posterior) -> tuple[dict[str, float], dict[str, float]]:
    """Return starting centre and scale of every parameter of a fit's posterior, or of a restricted one.

    Nuisance parameters that the fit says nothing of start from their priors.
    """
    both = {
        p: fit.start[p] if p in fit.start else default_start(p, posterior.priors[p])
        for p in posterior.parameters
    }
    return {p: centre for p, (centre, _) in both.items()}, {p: scale for p, (_, scale) in both.items()}
