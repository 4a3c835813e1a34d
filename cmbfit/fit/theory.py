"""What a fit's theory section asks for: parameters, range, priors; known without building it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmbfit.errors import ConfigError, at
from cmbfit.fit.defaults import Box
from cmbfit.io import read_json, reading
from cmbfit.registry import THEORIES
from cmbfit.theory.emulator.family import emulator_box, emulator_that_extends
from cmbfit.theory.emulator.manifest import shipped_bundles
from cmbfit.theory.primordial.registry import PRIMORDIAL_MODELS


@dataclass(frozen=True)
class TheoryPlan:
    """A theory's parameters before it is built.

    Attributes
    ----------
    theory : dict
        The completed section, as :class:`~cmbfit.fit.description.Fit` holds it.
    title : str
    parameters : tuple of str
    box : mapping of str to (float, float)
        Where the theory is valid.
    priors : mapping of str to mapping
        The model's own.
    starts : mapping of str to float
        The model's own defaults.
    absent : mapping of str to str
        LCDM parameters that the model does not have, and why.
    narrowed : frozenset of str
        Parameters whose range is that of the transfer functions.
    unknown : bool
        Only the user's own code knows the parameters, and it does not run to find them out.
    """

    theory: dict[str, Any]
    title: str
    parameters: tuple[str, ...]
    box: Box
    priors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    narrowed: frozenset[str] = frozenset()
    unknown: bool = False

    def bounds(self, parameter: str) -> str:
        """Name whose range a parameter's is."""
        return "transfer functions'" if parameter in self.narrowed else "emulator's"


def class_theory(section: Mapping[str, Any]) -> Any:
    """Return the theory that a section's ``class`` makes of its ``options``.

    Raises
    ------
    ConfigError
        For an option that it does not take.
    CodeNotAllowedError
        If it is the user's own code and nobody allowed it to run.
    """
    made = THEORIES.get(section["class"])
    options = section.get("options", {})
    try:
        inspect.signature(made).bind(**options)
    except TypeError as error:
        raise ConfigError(
            f"theory.options: {error}; {section['class']} takes {inspect.signature(made)}"
        ) from error
    with at("theory"):
        return made(**options)


def plan_theory(
    section: Mapping[str, Any],
    emulator: str,
    box: Box | None = None,
    transfer: str | None = None,
    transfer_box: Box | None = None,
    *,
    run_code: bool = True,
) -> TheoryPlan:
    """Return the plan of a theory section; arguments as for :func:`~cmbfit.fit.complete.complete_fit`.

    Raises
    ------
    ConfigError
        If keys contradict each other or something they need is not there.
    """
    kinds = [k for k in ("primordial", "evaporation", "class") if k in section]
    if len(kinds) > 1:
        raise ConfigError(f"theory: {kinds[0]} and {kinds[1]} are two theories; fit one of them")
    if "extends" in section:
        section, emulator, box = _extended(section, emulator, box, kinds)
    for key, owner in (("tensors", "primordial"), ("transfer", "primordial"), ("options", "class")):
        if key in section and owner not in section:
            raise ConfigError(f"theory: {key} belongs to {owner}, which is not given")
    base = dict(emulator_box(emulator) if box is None else {p: (x[0], x[1]) for p, x in box.items()})
    theory: dict[str, Any] = {"emulator": str(emulator), **section}
    if "evaporation" in section:
        return _evaporation(theory, base)
    if "class" in section:
        with at("theory.class"):
            THEORIES.where(section["class"])  # it must be there
        if section["class"] in THEORIES.builtin:
            own = class_theory(section)
            return TheoryPlan(theory, own.title, own.parameters, dict(own.box))
        return TheoryPlan(theory, f"theory {section['class']}", (), {}, unknown=True)
    if not run_code and any(
        k in section and section[k] not in PRIMORDIAL_MODELS for k in ("primordial", "tensors")
    ):
        for key in {"primordial", "tensors"} & set(section):
            with at(f"theory.{key}"):
                PRIMORDIAL_MODELS.where(section[key])  # it must be there
        return TheoryPlan(theory, f"model {section['primordial']}", (), {}, unknown=True)
    if "primordial" in section:
        return _primordial(theory, base, transfer, transfer_box)
    extra = [p for p in base if p not in _lcdm()]
    return TheoryPlan(theory, " + ".join(["LCDM", *extra]), tuple(base), base)


def _extended(
    section: Mapping[str, Any], emulator: str, box: Box | None, kinds: list[str]
) -> tuple[Mapping[str, Any], str, Box | None]:
    """Return the section, the emulator and its range that ``extends`` asks for."""
    if kinds:
        raise ConfigError(
            f"theory: extends chooses an emulator with parameters beyond LCDM, which {kinds[0]} does not take; remove one of them"
        )
    with at("theory.extends"):
        if not Path(emulator, "manifest.json").is_file() and emulator not in shipped_bundles():
            raise ConfigError(
                "the run trains its own emulator, of LCDM alone: name a finished one (theory.emulator.bundle)"
            )
        chosen = emulator_that_extends(section["extends"], str(emulator))
    return section, chosen, box if chosen == emulator else None


def _lcdm() -> tuple[str, ...]:
    from cmbfit.theory.parameters import LCDM  # noqa: PLC0415

    return LCDM


def _evaporation(theory: dict[str, Any], base: Mapping[str, tuple[float, float]]) -> TheoryPlan:
    from cmbfit.theory.hawking.response import FRACTION, response_of  # noqa: PLC0415 (torch)

    mass = float(theory["evaporation"])
    own = response_of(mass).box
    box = {p: (max(base[p][0], own[p][0]), min(base[p][1], own[p][1])) if p in own else base[p] for p in base}
    top = own[FRACTION][1]
    return TheoryPlan(
        {**theory, "evaporation": mass},
        f"black holes of {mass:g} g",
        (*base, FRACTION),
        {**box, FRACTION: (0.0, top)},
        {FRACTION: {"uniform": [0.0, top]}},
        {FRACTION: 0.1 * top},
    )


def _primordial(
    theory: dict[str, Any],
    base: Mapping[str, tuple[float, float]],
    transfer: str | None,
    transfer_box: Box | None,
) -> TheoryPlan:
    from cmbfit.theory.primordial import get_model  # noqa: PLC0415 (torch)

    with at("theory.primordial"):  # first, since a misspelt name needs no transfer functions
        model = get_model(theory["primordial"])
    given = theory.get("transfer")
    folder = given or transfer
    if folder is None:
        raise ConfigError(
            f"theory: {{primordial: {theory['primordial']}}} needs transfer functions: say with theory.transfer how the run "
            "makes them (pipeline/config/early_universe.yaml), or name a finished folder (--transfer, or theory: {transfer: ...})"
        )
    if given is not None or transfer_box is None:
        with at("theory.transfer"):
            transfer_box = transfer_folder_box(str(folder))
    with at("theory.tensors"):
        waves = get_model(theory["tensors"]).parameters if "tensors" in theory else ()
    new = [*model.parameters, *(p for p in waves if p.name not in model.parameter_names)]
    background = [p for p in base if p not in ("logA", "ns")]
    box = {p: base[p] for p in background}
    narrowed = frozenset(p for p in transfer_box if p in box)
    box |= {p: (max(box[p][0], transfer_box[p][0]), min(box[p][1], transfer_box[p][1])) for p in narrowed}
    for p in new:
        low, high = base.get(p.name, (p.prior.low, p.prior.high))
        box[p.name] = max(low, p.prior.low), min(high, p.prior.high)
    absent = {
        p: f"this model predicts it (theory: {{primordial: {model.name}}}): remove it"
        for p in ("logA", "ns")
        if p not in box
    }
    priors = {p.name: {"uniform": list(box[p.name])} for p in new if p.name not in ("logA", "ns")}
    return TheoryPlan(
        {**theory, "transfer": str(folder)},
        model.title,
        (*background, *(p.name for p in new)),
        box,
        priors,
        {p.name: p.default for p in new},
        absent,
        narrowed,
    )


def transfer_folder_box(folder: str) -> dict[str, tuple[float, float]]:
    """Return the range of finished transfer functions, from their manifest."""
    from cmbfit.theory.transfer.region import planned_box  # noqa: PLC0415

    path = Path(folder) / "manifest.json"
    if not path.is_file():
        raise ConfigError(
            f"{folder}: no transfer functions there (expected manifest.json and arrays.safetensors)"
        )
    with reading(path, "the manifest of transfer functions", ConfigError):
        settings = read_json(path).get("settings", {})
        box = planned_box({k: settings[k] for k in ("centre", "steps") if k in settings})
        return {p: (float(low), float(high)) for p, (low, high) in box.items()}
