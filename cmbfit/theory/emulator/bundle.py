"""Emulator bundles: a folder with ``manifest.json`` and ``arrays.safetensors``; no pickle.

The manifest says what the emulator is (box, units, codes and settings, measured errors) and holds
reference predictions, which are recomputed on load: a damaged or incompatible bundle is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

import cmbfit
from cmbfit.errors import BundleError, ConfigError, ParameterError, SpectrumError
from cmbfit.io import read_json, sha256_file, write_bytes, write_json
from cmbfit.theory.emulator.arrays import Block, EmulatorArrays
from cmbfit.theory.emulator.correction import CorrectedEmulator, Correction, corrected, cut
from cmbfit.theory.emulator.family import emulator_that_extends
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.emulator.stored_correction import (
    correction_arrays,
    correction_record,
    read_correction,
    require_base,
)
from cmbfit.theory.emulator.stored_errors import error_arrays
from cmbfit.theory.parameters import DERIVED

if TYPE_CHECKING:
    from cmbfit.theory.emulator.accuracy import Accuracy

FORMAT = "cmbfit-linear-emulator"
VERSION, SHARED = 2, 3
READABLE = (1, VERSION, SHARED)
"""Version 1 had the blocks cmb and lensing alone, and polynomials of the parameters themselves; 3 is a correction that
names a shipped base instead of holding it."""
REFERENCE_RTOL = 1e-9  # float64 sums in another order; a damaged array errs by far more
Emulator = LinearEmulator | CorrectedEmulator


def _arrays_of(emulator: EmulatorArrays) -> dict[str, np.ndarray]:
    arrays = {"degrees": emulator.degrees, "lowl_ee": emulator.lowl_ee, "derived": emulator.derived}
    for name, block in emulator.blocks.items():
        for part in ("mean", "scale", "basis", "coefficients"):
            arrays[f"{name}.{part}"] = getattr(block, part)
    return arrays


def _reference_points(box: Mapping[str, tuple[float, float]]) -> np.ndarray:
    """Return the box's centre and, for each parameter, a point a quarter of the way to both ends."""
    low, high = np.array(list(box.values())).T
    centre, half = (low + high) / 2, (high - low) / 2
    shifts = np.vstack([np.zeros(len(low)), 0.5 * np.eye(len(low)), -0.5 * np.eye(len(low))])
    return centre + shifts * half


def _reference_predictions(emulator: Emulator) -> dict[str, Any]:
    theta = _reference_points(emulator.box)
    spectra = emulator.spectra(torch.from_numpy(theta))
    ells = [ell for ell in (2, 5, 29, 30, 220, 1000, 2000, emulator.lmax) if ell <= emulator.lmax]
    return {
        "theta": theta.tolist(),
        "ell": ells,
        "dl": {pair: x[:, ells].tolist() for pair, x in spectra.dl.items()},
        "derived": {p: spectra.parameters[p].tolist() for p in DERIVED},
    }


def _summary(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "n_points": accuracy.n_points,
        "overall": accuracy.overall,
        "derived_max_relative": accuracy.derived,
    }


def write_bundle(
    folder: str | Path,
    emulator: EmulatorArrays,
    settings: dict[str, Any],
    accuracy: Accuracy,
    correction: Correction | None = None,
    focus: Accuracy | None = None,
    base: Mapping[str, str] | None = None,
) -> None:
    """Publish a bundle: arrays first, the manifest (which names their sha256) last.

    Parameters
    ----------
    folder : str or Path
    emulator : EmulatorArrays
    settings : dict
        How the emulator came to be; from :func:`~cmbfit.theory.emulator.train.training_settings`.
    accuracy : Accuracy
        Errors at held-out points.
    correction : Correction, optional
        What is added to the emulator: a network, or an extension.
    focus : Accuracy, optional
        Errors at held-out points of the design's focus, where published posteriors lie.
    base : mapping, optional
        Name and sha256 of the shipped bundle whose arrays the emulator's are
        (:func:`~cmbfit.theory.emulator.stored_correction.base_of`): the correction alone is stored.
    """
    from cmbfit.theory.emulator.accuracy import PERCENTILES  # noqa: PLC0415 (training's: scipy)

    folder = Path(folder)
    theory: Emulator = LinearEmulator(emulator, settings)
    arrays = error_arrays(accuracy.per_ell, thin=correction is not None)
    if base is None or correction is None:
        arrays |= _arrays_of(emulator)
    if correction is not None:
        theory = corrected(emulator, correction, settings)
        arrays |= correction_arrays(correction)
    arrays = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    write_bytes(folder / "arrays.safetensors", save_arrays(arrays))
    manifest = {
        "format": FORMAT,
        "version": VERSION if base is None else SHARED,
        "cmbfit": cmbfit.__version__,
        "parameters": list(theory.parameters),
        "box": {name: list(limits) for name, limits in emulator.box.items()},
        "lmax": emulator.lmax,
        "units": "D_l = l(l+1)C_l/2pi in uK^2; pp is [L(L+1)]^2 C_L/2pi; l from 0",
        "derived": list(DERIVED),
        "blocks": {
            name: {"pairs": list(block.pairs), "lmin": list(block.lmin)}
            for name, block in emulator.blocks.items()
        },
        "coordinates": emulator.coordinates,
        "settings": settings,
        "accuracy": {
            "what": "|delta D_l| / sigma_CV (f_sky = 1, per multipole, l >= 2) at held-out points of the box",
            "percentiles": list(PERCENTILES),
            **_summary(accuracy),
            **({} if focus is None else {"focus": _summary(focus)}),
            "chi2": {},  # by data set; filled when an emulator is shipped
        },
        "arrays_sha256": sha256_file(folder / "arrays.safetensors"),
        "reference": _reference_predictions(theory),
    }
    if correction is not None:
        manifest["correction"] = correction_record(correction)
        if base is not None:
            manifest["base"] = dict(base)
    write_json(folder / "manifest.json", manifest)


def _require(manifest: dict[str, Any], folder: Path) -> None:
    if manifest.get("format") != FORMAT or manifest.get("version") not in READABLE:
        raise BundleError(
            f"{folder}: expected format {FORMAT} version {', '.join(map(str, READABLE))}, "
            f"found {manifest.get('format')} version {manifest.get('version')}"
        )
    path = folder / "arrays.safetensors"
    if not path.is_file():
        raise BundleError(f"{path}: missing")
    if (found := sha256_file(path)) != manifest["arrays_sha256"]:
        raise BundleError(f"{path}: altered (sha256 {found}, the manifest names {manifest['arrays_sha256']})")


def read_arrays(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return manifest and arrays of a bundle after checking format and sha256."""
    folder = Path(folder)
    manifest = read_json(folder / "manifest.json")
    try:
        _require(manifest, folder)
        arrays = load_arrays((folder / "arrays.safetensors").read_bytes())
    except (KeyError, AttributeError, SafetensorError) as error:
        raise BundleError(f"{folder}: not a complete bundle ({error!r})") from error
    return manifest, arrays


def _check_reference(emulator: Emulator, reference: dict[str, Any], folder: Path) -> None:
    """Raise :class:`BundleError` unless spectra and derived parameters are the recorded ones."""
    spectra = emulator.spectra(torch.tensor(reference["theta"], dtype=torch.float64))
    found = {pair: x[:, reference["ell"]] for pair, x in spectra.dl.items()}
    found |= {name: spectra.parameters[name] for name in DERIVED}
    for name, value in found.items():
        group = "dl" if name in spectra.dl else "derived"
        wanted = torch.tensor(reference[group][name], dtype=torch.float64)
        worst = ((value - wanted).abs() / wanted.abs().amax(0)).max().item()
        if not worst <= REFERENCE_RTOL:
            raise BundleError(f"{folder}: {name} differs from the bundle's own reference by {worst:.1e}")


def load_emulator(name_or_path: str | Path = "lcdm_planck2018", *, extends: Iterable[str] = ()) -> Emulator:
    """Load an emulator and check that it reproduces its own reference predictions.

    Parameters
    ----------
    name_or_path : str or Path
        A shipped bundle's name or a bundle's folder.
    extends : iterable of str
        Parameters beyond LCDM: the emulator of the family that has them is loaded in its place
        (:func:`~cmbfit.theory.emulator.family.emulator_that_extends`).

    Raises
    ------
    BundleError
        If the bundle is unknown, damaged, of another format, of another version of its base, or predicts other numbers than it
        says.
    ConfigError
        If no emulator covers what `extends` names.

    Examples
    --------
    >>> emulator = load_emulator("lcdm_planck2018")
    >>> emulator.parameters
    ('ombh2', 'omch2', 'theta_mc', 'tau', 'logA', 'ns')
    """
    if extends := tuple(extends):
        name_or_path = emulator_that_extends(extends, str(name_or_path))
    folder = bundle_folder(name_or_path)
    manifest, arrays = read_arrays(folder)
    try:
        base = _base_arrays(manifest, arrays, folder)
        settings = {
            **manifest["settings"],
            "bundle": folder.name,
            "arrays_sha256": manifest["arrays_sha256"],
        }
        emulator: Emulator = LinearEmulator(base, settings)
        if "correction" in manifest:
            emulator = corrected(base, read_correction(manifest["correction"], arrays), settings)
        _check_reference(emulator, manifest["reference"], folder)
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        RuntimeError,
        ConfigError,
        SpectrumError,
        ParameterError,
    ) as error:
        raise BundleError(f"{folder}: not a complete bundle ({error!r})") from error
    return emulator


def _base_arrays(manifest: dict[str, Any], arrays: dict[str, np.ndarray], folder: Path) -> EmulatorArrays:
    """Return the arrays of a base emulator: the bundle's own, or those of the shipped one that it names."""
    if "base" in manifest:
        shipped = bundle_folder(manifest["base"]["bundle"])
        found, theirs = read_arrays(shipped)
        require_base(folder, manifest["base"], found)
        return cut(_base_arrays(found, theirs, shipped), manifest["lmax"])
    blocks = {
        name: Block(
            tuple(spec["pairs"]),
            tuple(spec["lmin"]),
            *(arrays[f"{name}.{part}"] for part in ("mean", "scale", "basis", "coefficients")),
        )
        for name, spec in manifest["blocks"].items()
    }
    return EmulatorArrays(
        box={name: (low, high) for name, (low, high) in manifest["box"].items()},
        lmax=manifest["lmax"],
        degrees=arrays["degrees"],
        cmb=blocks.pop("cmb"),
        lensing=blocks.pop("lensing"),
        lowl_ee=arrays["lowl_ee"],
        derived=arrays["derived"],
        coordinates=manifest["coordinates"] if manifest["version"] > 1 else "tau",
        more=blocks,
    )
