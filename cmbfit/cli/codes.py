"""Theory spectra by CAMB, CLASS or an emulator, for commands that take parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cmbfit.errors import ConfigError, SpectrumError

if TYPE_CHECKING:
    from cmbfit.theory.base import Theory
    from cmbfit.theory.spectra import Spectra


class Code(StrEnum):
    """Where theory spectra come from."""

    camb = "camb"
    class_ = "class"
    emulator = "emulator"


def boltzmann_theory(
    code: Code, values: Mapping[str, float], lmax: int, preset: str, *, lensed: bool
) -> Theory:
    """Return CAMB or CLASS up to `lmax`, with the extensions that `values` name."""
    from cmbfit.theory.extensions import EXTENSIONS  # noqa: PLC0415

    extra = [name for name in values if name in EXTENSIONS]
    if code is Code.camb:
        from cmbfit.theory.camb_code import CambTheory, get_preset  # noqa: PLC0415

        settings = get_preset(preset)
        # below the preset's lmax the spectra are cut, not recomputed: numbers do not depend on --lmax
        if lmax > settings.lmax:
            accuracy = max(settings.lens_potential_accuracy, (lmax - 1500) / 500)
            settings = dataclasses.replace(settings, lmax=lmax, lens_potential_accuracy=accuracy)
        return CambTheory(settings, extra, lensed=lensed)
    from cmbfit.theory import class_code  # noqa: PLC0415

    of_class = class_code.get_preset(preset)
    if lmax > of_class.lmax:
        of_class = dataclasses.replace(of_class, lmax=lmax)
    return class_code.ClassTheory(of_class, extra, lensed=lensed)


def compute_spectra(
    code: Code,
    values: Mapping[str, float],
    lmax: int,
    emulator: str | None,
    preset: str = "planck2018",
    *,
    lensed: bool = True,
) -> tuple[Spectra, dict[str, Any]]:
    """Return spectra up to `lmax` and the settings behind them; without an emulator's name, the one that has the parameters."""
    from cmbfit.theory.base import point_from_values  # noqa: PLC0415
    from cmbfit.theory.spectra import Spectra  # noqa: PLC0415

    if code is not Code.emulator:
        theory = boltzmann_theory(code, values, lmax, preset, lensed=lensed)
    elif not lensed or preset != "planck2018":
        raise ConfigError(
            "--unlensed and --preset need a Boltzmann code: add --code camb or --code class "
            "(an emulator holds the settings that it was trained with)"
        )
    else:
        from cmbfit.theory.emulator.bundle import load_emulator  # noqa: PLC0415
        from cmbfit.theory.emulator.family import asked_for  # noqa: PLC0415

        extends = asked_for(values) if emulator is None else ()
        theory = load_emulator(emulator or "lcdm_planck2018", extends=extends)
    if not 2 <= lmax <= theory.lmax:
        raise SpectrumError(f"--lmax: expected 2..{theory.lmax} for {code.value}, found {lmax}")
    got = theory.spectra(point_from_values(theory, values))
    return Spectra({p: x[:, : lmax + 1] for p, x in got.dl.items()}, got.parameters), theory.settings
