"""Which theory a fit of a configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmbfit.errors import ConfigError
from cmbfit.theory.base import Theory
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.hawking.response import EvaporationTheory
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial_theory import PrimordialTheory
from cmbfit.theory.tensor_spectra import TensorSpectra
from cmbfit.theory.transfer.expansion import TransferExpansion
from cmbfit.theory.transfer.operator import TransferOperator
from cmbfit.theory.transfer.store import TENSORS, read_transfer


def primordial_of(fit: Mapping[str, Any]) -> str | None:
    """Return the name of a fit's primordial model, None for the power law of the emulator."""
    name = fit.get("theory", {}).get("primordial")
    return None if name is None else str(name)


def tensors_of(fit: Mapping[str, Any]) -> str | None:
    """Return the name of a fit's model of tensors, None for none."""
    name = fit.get("theory", {}).get("tensors")
    return None if name is None else str(name)


def theory_from_config(
    fit: Mapping[str, Any], emulator: str | Path, transfer: str | Path | None = None
) -> Theory:
    """Return a fit's theory.

    Parameters
    ----------
    fit : mapping
        ``theory: {primordial: NAME}`` asks for a primordial model of the registry, with ``tensors: NAME`` for
        gravitational waves, ``{evaporation: M}`` for evaporating primordial black holes of M grams.
    emulator : str or Path
        Name of a shipped emulator, or a bundle's folder.
    transfer : str or Path, optional
        Folder of a transfer expansion, which primordial models need; default: the fit's ``theory: {transfer: ...}``.

    Raises
    ------
    ConfigError
        If a primordial model is asked for without a transfer expansion, or it is no expansion.
    """
    name = primordial_of(fit)
    if mass := fit.get("theory", {}).get("evaporation"):
        return EvaporationTheory(load_emulator(emulator), float(mass))
    if name is None:
        return load_emulator(emulator)
    transfer = transfer or fit["theory"].get("transfer")
    if transfer is None:
        raise ConfigError(
            f"theory: {{primordial: {name}}} needs a transfer expansion: run the workflow with a theory.transfer "
            "section, or give its folder with --transfer"
        )
    expansion = read_transfer(transfer)
    if not isinstance(expansion, TransferExpansion):
        raise ConfigError(f"{transfer}: expected a transfer expansion, found an operator of one cosmology")
    base = load_emulator(emulator)
    if not isinstance(base, LinearEmulator):
        raise ConfigError(f"{emulator}: primordial models need an LCDM emulator, not one with an extension")
    waves = tensors_of(fit)
    if waves is None:
        return PrimordialTheory(base, get_model(name), expansion)
    operator = read_transfer(Path(transfer) / TENSORS)
    if not isinstance(operator, TransferOperator):
        raise ConfigError(f"{transfer}/{TENSORS}: expected an operator of tensors, found an expansion")
    return PrimordialTheory(base, get_model(name), expansion, TensorSpectra(get_model(waves), operator))
