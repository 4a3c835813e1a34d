"""What a candl definition says: every key is used, known to change no number, or refused by name.

The format: Balkenhol et al. 2024 (arXiv:2401.13433) and candl 1.8.2 and 2.2.0.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cmbfit.errors import DataError, LikelihoodError, shown, unknown_name
from cmbfit.likelihood.datasets.candl_files import DefinitionFiles, Folder
from cmbfit.likelihood.steps import Measured
from cmbfit.theory.spectra import PAIRS

BEAM_FORM = "gaussian_beam_detcov"

_USED = (
    "name",
    "band_power_file",
    "covariance_file",
    "window_functions_folder",
    "spectra_info",
    "data_model",
    "priors",
    "likelihood_form",
    "beam_correlation_file",
    "effective_frequencies",
    "bandpasses",
    "data_selection",
    "hartlap_correction",
    "force_ignore_transformations",
)
_NO_NUMBER = ("feedback", "log_file", "like_folder_path", "variant")
"""What candl prints, and where."""

_REFUSED = {
    "data_set_path": "files are looked for beside the definition: put it there",
    "noise_model_band_power_file": "it belongs to likelihood_form: hamimeche_lewis, which is not read from candl files",
    "fiducial_band_power_file": "it belongs to likelihood_form: hamimeche_lewis, which is not read from candl files",
    "offset_lognorm_offset": "it belongs to likelihood_form: offset_lognorm, which is not read from candl files",
    "offset_lognorm_mean": "it belongs to likelihood_form: offset_lognorm, which is not read from candl files",
    "add_logdet": "constants of ln L are left out here",
}


@dataclass(frozen=True)
class Definition:
    """A definition that was checked.

    Attributes
    ----------
    spec : mapping
        The file's contents.
    spectra : tuple of Measured
        In the order of the data vector.
    n_bins : tuple of int
        Bandpowers of each.
    steps : list of mapping
        Entries of the data model, blocks expanded.
    """

    spec: Mapping[str, Any]
    spectra: tuple[Measured, ...]
    n_bins: tuple[int, ...]
    steps: list[Mapping[str, Any]]

    @property
    def lensing(self) -> bool:
        """Whether it is of lensing bandpowers, whose steps act on what is binned."""
        return all(s.pair == "pp" for s in self.spectra)

    @property
    def beam(self) -> str:
        """File of the beams' correlation; empty if the covariance is fixed."""
        return self.spec["beam_correlation_file"] if self.spec.get("likelihood_form") == BEAM_FORM else ""


def read_definition(files: DefinitionFiles) -> Definition:
    """Read a definition.

    Raises
    ------
    DataError
        If it is not a definition.
    LikelihoodError
        For a key, a form or a spectrum that is unknown or not supported; with its name.
    """
    name = files.definition
    try:
        spec = yaml.safe_load(files.find(posixpath.basename(name))[1])
        rows = [(str(s), int(n)) for row in spec["spectra_info"] for s, n in row.items()]
        _ = spec["band_power_file"], spec["covariance_file"], spec["window_functions_folder"].rstrip("/")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{name}: not a candl data set definition ({error!r})") from error
    if not rows or any(n < 1 for _, n in rows):
        raise DataError(f"{name}: not a candl data set definition (spectra_info without bandpowers)")
    _check_keys(name, spec)
    if twice := [s for i, (s, _) in enumerate(rows) if s in [x for x, _ in rows[:i]]]:
        raise LikelihoodError(f"{name}: spectra_info lists {twice[0]!r} twice")
    spectra = tuple(_measured(name, s) for s, _ in rows)
    if len({s.pair == "pp" for s in spectra}) > 1:
        raise LikelihoodError(
            f"{name}: spectra_info: a lensing spectrum stands among others; give it a definition of its own"
        )
    return Definition(spec, spectra, tuple(n for _, n in rows), _steps(files, spec))


def follow_index(files: DefinitionFiles, variant: str | None) -> DefinitionFiles:
    """Return the files of the definition that an index file points to, or those of the definition itself.

    Raises
    ------
    LikelihoodError
        For a variant that is not in the index, or of a definition that is none.
    """
    name = posixpath.basename(files.definition)
    try:
        spec = yaml.safe_load(files.find(name)[1])
    except yaml.YAMLError:
        return files  # the definition's own reader says what is wrong
    if not isinstance(spec, dict) or "spectra_info" in spec or not isinstance(spec.get("default"), str):
        if variant is not None:
            raise LikelihoodError(f"{files.definition}: variant: only an index file has variants")
        return files
    chosen = spec.get(variant or "default")
    if not isinstance(chosen, str):
        raise LikelihoodError(f"{files.definition}: {unknown_name('variant', str(variant), list(spec))}")
    return DefinitionFiles(files.files, posixpath.join(files.folder, chosen))


def outside_files(path: Path, variant: str | None = None) -> list[Path]:
    """Return the files that the steps of a definition use from outside of its folder, templates of a package."""
    files = follow_index(DefinitionFiles(Folder(path.parent), path.name), variant)
    named = [x for entry in read_definition(files).steps for k, x in entry.items() if "file" in k]
    places = [Path(files.find(name)[0]) for name in named if isinstance(name, str) and name in files]
    return [place for place in places if place.is_absolute()]


def _check_keys(name: str, spec: Mapping[str, Any]) -> None:
    for key, value in spec.items():
        if key in _REFUSED and value is not None and value is not False:
            raise LikelihoodError(f"{name}: {key} is not supported: {_REFUSED[key]}")
        if key == "blinding" and value is not None and value is not False:
            raise LikelihoodError(
                f"{name}: blinding: {shown(value)}: bandpowers are not blinded here, as candl's ln L is not either; take it out"
            )
        if key not in (*_USED, *_NO_NUMBER, *_REFUSED, "blinding"):
            raise LikelihoodError(f"{name}: {unknown_name('key', str(key), _USED)}")
    form = spec.get("likelihood_form") or "gaussian"
    beam = spec.get("beam_correlation_file")
    if form not in ("gaussian", BEAM_FORM):
        raise LikelihoodError(
            f"{name}: likelihood_form: expected gaussian or {BEAM_FORM}, found {shown(form)}, which is not supported"
        )
    if form == BEAM_FORM and not beam:
        raise LikelihoodError(f"{name}: likelihood_form: {BEAM_FORM} needs a beam_correlation_file")
    if form != BEAM_FORM and beam:
        raise LikelihoodError(
            f"{name}: beam_correlation_file is not used by likelihood_form: {form}; take it out, or say likelihood_form: {BEAM_FORM}"
        )


def _measured(where: str, name: str) -> Measured:
    pair = name.split(maxsplit=1)[0].lower() if name.split() else ""
    pair = "pp" if pair == "kk" else pair
    if pair not in PAIRS:
        raise LikelihoodError(
            f"{where}: spectra_info: {unknown_name('spectrum', name, [p.upper() for p in PAIRS])}"
        )
    maps = name.split()[1].split("x") if len(name.split()) > 1 else []
    if pair != "pp" and len(maps) != 2:
        raise LikelihoodError(
            f"{where}: spectra_info: expected a pair and two maps, as in TT 90x150, found {name!r}"
        )
    return Measured(name, pair, tuple(maps))


def _steps(files: DefinitionFiles, spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of the data model, those of blocks in their place, less those to be ignored."""
    name = files.definition
    out: list[Mapping[str, Any]] = []
    for entry in _entries(name, "data_model", spec.get("data_model") or []):
        out += _block(files, entry["Block"]) if set(entry) == {"Block"} else [entry]
    ignored = spec.get("force_ignore_transformations") or []
    ignored = ignored.split(", ") if isinstance(ignored, str) else ignored
    descriptors = [entry.get("descriptor") for entry in out]
    if unknown := [x for x in ignored if x not in descriptors]:
        raise LikelihoodError(
            f"{name}: force_ignore_transformations: {unknown_name('descriptor', str(unknown[0]), [d for d in descriptors if d])}"
        )
    return [entry for entry in out if entry.get("descriptor") not in ignored]


def _entries(where: str, what: str, entries: Any) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or not all(isinstance(x, dict) for x in entries):
        raise LikelihoodError(f"{where}: {what}: expected a list of steps, found {shown(entries)}")
    for entry in entries:
        if "Module" not in entry and set(entry) != {"Block"}:
            raise LikelihoodError(
                f"{where}: {what}: expected Module: NAME (or Block: FILE alone), found {shown(entry)}"
            )
    return entries


def _block(files: DefinitionFiles, name: Any) -> list[Mapping[str, Any]]:
    """Return the steps of a block's file, whose own files are named relative to it."""
    raw = files.find(name)[1]
    try:
        entries = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise DataError(f"{name}: expected a list of steps in YAML ({error})") from error
    folder = posixpath.dirname(name)
    out: list[Mapping[str, Any]] = []
    for entry in _entries(files.definition, f"Block: {name}", entries):
        if "Block" in entry:
            raise LikelihoodError(f"{files.definition}: Block: {name}: a block in a block is not supported")
        out.append(
            {
                k: posixpath.join(folder, v) if "file" in k and isinstance(v, str) and "." in v else v
                for k, v in entry.items()
            }
        )
    return out
