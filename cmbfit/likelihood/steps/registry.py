"""The open registry of steps, and how an entry of a data model becomes one.

An entry says ``Module: NAME`` and the options of the step's class. A user's own class goes by its file,
``Module: ./my_steps.py:MyForeground`` (from the definition's folder), or by an entry point of the group ``cmbfit.steps``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from cmbfit.errors import CmbfitError, LikelihoodError, shown, unknown_name
from cmbfit.likelihood.steps.base import Setting, Step
from cmbfit.registry import Registry

_HERE = "cmbfit.likelihood.steps"


def _named(module: str, prefix: str, names: str) -> dict[str, str]:
    return {f"{prefix}.{name}": f"{_HERE}.{module}:{name}" for name in names.split()}


_LOW_ELL = (
    "GalacticDustBandPass SynchrotronBandPass GalacticDustSynchrotronCorrelationBandPass GalacticDustFixedAlphaBandPass "
    "SynchrotronFixedAlphaBandPass GalacticDustSynchrotronCorrelationFixedAlphaBandPass "
    "GalacticDustDecorrelationBandPass GalacticDustFixedAlphaDecorrelationBandPass"
)
_CALIBRATIONS = (
    "CalibrationSingleScalar CalibrationSingleScalarSquared CalibrationAuto CalibrationCross "
    "PolarisationCalibration PolarisationCalibrationDivision"
)
_FOREGROUNDS = (
    "PoissonPower RadioPoisson CIBClustering GalacticDust tSZTemplateForeground kSZTemplateForeground "
    "CIBtSZCorrelationGeometricMean"
)

STEPS: Registry[type[Step]] = Registry(
    "step of the data model",
    "cmbfit.steps",
    _named("calibration", "common", _CALIBRATIONS)
    | _named("local_sky", "common", "AberrationCorrection SuperSampleLensing")
    | _named("foregrounds", "common", _FOREGROUNDS)
    | _named("bandpass", "common", "GalacticDustBandPass")
    | _named("bandpass", "low_ell_BB", _LOW_ELL)
    | _named(
        "lensing", "common_lensing", "BinnedTemplateForeground ResponseFunctionM LensingAmplitude NormCorr"
    ),
    error=LikelihoodError,
)
"""Names of a data model, those of candl's transformations, to classes of steps."""

_REFUSED = {
    "common.FGSpectraInterfaceFactorizedCrossSpectrum": "it evaluates formulas of another package, fgspectra; give the "
    "foreground as a step of your own",
}


def build_step(setting: Setting, entry: Mapping[str, Any], folder: str = ".") -> Step:
    """Return the step of an entry of a data model.

    Parameters
    ----------
    setting : Setting
    entry : mapping
        ``Module``, the options of the step's class, and a ``descriptor`` for people.
    folder : str, optional
        Where relative names of the user's own files start.

    Raises
    ------
    LikelihoodError
        For an unknown step, an option that it does not have or lacks, or one of the wrong form; with its name.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("Module"), str):
        raise LikelihoodError(f"data_model: expected entries with Module: NAME, found {shown(entry)}")
    name = str(entry["Module"]).removeprefix("candl.transformations.")
    if name in _REFUSED:
        raise LikelihoodError(f"data_model: the step {name} is not supported: {_REFUSED[name]}")
    kind = STEPS.get(name, folder)
    options = {k: v for k, v in entry.items() if k not in ("Module", "descriptor", "operation_hint")}
    _, *known = inspect.signature(kind).parameters.values()
    if unknown := [k for k in options if k not in {p.name for p in known}]:
        raise LikelihoodError(
            f"data_model: {name}: {unknown_name('option', unknown[0], [p.name for p in known])}"
        )
    if lacking := [p.name for p in known if p.default is p.empty and p.name not in options]:
        raise LikelihoodError(f"data_model: {name}: the option {lacking[0]} is missing")
    try:
        step = kind(setting, **options)  # type: ignore[call-arg]
    except CmbfitError as error:
        raise type(error)(f"data_model: {name}: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        given = ", ".join(f"{k}: {shown(v)}" for k, v in options.items())
        raise LikelihoodError(f"data_model: {name}: cannot be made of {given} ({error})") from error
    if not isinstance(step, Step):
        raise LikelihoodError(
            f"data_model: {name}: expected a cmbfit.likelihood.steps.Step, found a {type(step).__name__}"
        )
    return step
