"""Which shipped emulator covers a set of parameters beyond LCDM: the family of a base and its corrections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cmbfit.errors import ConfigError, unknown_name
from cmbfit.io import read_json, reading
from cmbfit.theory.emulator.manifest import bundle_folder, shipped_bundles
from cmbfit.theory.extensions import EXTENSIONS
from cmbfit.theory.parameters import FIXED

Box = dict[str, tuple[float, float]]


def read_manifest(emulator: str) -> dict[str, Any]:
    """Return the manifest of a shipped emulator's name or a bundle's folder, unchecked."""
    path = bundle_folder(emulator) / "manifest.json"
    with reading(path, "the manifest of an emulator"):
        return dict(read_json(path))


def bundle_box(manifest: Mapping[str, Any]) -> Box:
    """Return the parameters of an emulator and their range: LCDM's, then an extension's."""
    box = manifest.get("correction", manifest)["box"]
    return {p: (float(low), float(high)) for p, (low, high) in box.items()}


def emulator_box(emulator: str) -> Box:
    """Return the parameters of an emulator and their range, from its manifest."""
    with reading(bundle_folder(emulator) / "manifest.json", "the manifest of an emulator"):
        return bundle_box(read_manifest(emulator))


def beyond_lcdm(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of some parameters that are extensions', in the order of :data:`EXTENSIONS`."""
    names = set(names)
    return tuple(p for p in EXTENSIONS if p in names)


def extended_bundles() -> dict[str, tuple[str, ...]]:
    """Return the shipped emulators with an extension: by name, its parameters."""
    boxes = {name: emulator_box(name) for name in shipped_bundles()}
    return {name: extra for name, box in boxes.items() if (extra := beyond_lcdm(box))}


def asked_for(values: Mapping[str, float]) -> tuple[str, ...]:
    """Return the extensions that values of parameters ask for; one at the base model's fixed value is none.

    Examples
    --------
    >>> asked_for({"ombh2": 0.0224, "mnu": 0.06, "nnu": 3.3})
    ('nnu',)
    """
    return beyond_lcdm(p for p, x in values.items() if p not in FIXED or abs(x - FIXED[p]) > 1e-9)


def emulator_that_extends(extends: Iterable[str], base: str) -> str:
    """Return the emulator of exactly these parameters beyond LCDM.

    Parameters
    ----------
    extends : iterable of str
        Of :data:`~cmbfit.theory.extensions.EXTENSIONS`; their order does not matter.
    base : str
        The emulator that a run has; it is returned if it has them itself, and shipped corrections of it come first.

    Raises
    ------
    ConfigError
        If a name is no extension, or no emulator covers them together; the message names the nearest and what else there is.
    """
    extends = tuple(extends)
    if unknown := [p for p in extends if p not in EXTENSIONS]:
        raise ConfigError(unknown_name("parameter beyond LCDM", unknown[0], EXTENSIONS))
    if len(set(extends)) != len(extends) or not extends:
        raise ConfigError(f"expected parameters beyond LCDM, each once, found {list(extends)}")
    wanted = beyond_lcdm(extends)
    if beyond_lcdm(emulator_box(base)) == wanted:
        return base
    shipped = extended_bundles()
    fitting = [name for name, extra in shipped.items() if extra == wanted]
    if fitting:
        return next((name for name in fitting if _base_name(name) == base), fitting[0])
    raise ConfigError(
        f"no shipped emulator covers {' and '.join(wanted)}{' together' if len(wanted) > 1 else ''}"
        f"{_nearest(wanted, shipped)}; make one of 50 to 500 Boltzmann runs (`cmbfit emulator finetune`) and name it as the "
        f"run's emulator, or take CAMB itself, seconds a point: theory: {{class: camb, options: {{vary: [{', '.join(wanted)}]}}}}"
    )


def _base_name(bundle: str) -> str | None:
    base = read_manifest(bundle).get("base", {}).get("bundle")
    return None if base is None else str(base)


def _nearest(wanted: tuple[str, ...], shipped: Mapping[str, tuple[str, ...]]) -> str:
    """Return the shipped ones that share most of the parameters with few others, as words."""
    if not shipped:
        return ""
    distance = {name: len(set(wanted) ^ set(extra)) for name, extra in shipped.items()}
    near = [f"{n} ({', '.join(shipped[n])})" for n, d in distance.items() if d == min(distance.values())]
    return f"; the nearest: {', '.join(near)}"
