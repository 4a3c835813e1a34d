"""Reader of candl-format data sets: a YAML definition and files of numbers (Balkenhol et al. 2024, arXiv:2401.13433).

Spectra of any number of frequencies, regions or surveys, lensing spectra, data models of any of the registered steps, a
covariance that is fixed or moves with the model. What is not supported is refused by name, see
:mod:`cmbfit.likelihood.datasets.candl_definition`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from cmbfit.errors import DataError, LikelihoodError
from cmbfit.likelihood.cuts import Ranges, kept_rows
from cmbfit.likelihood.data_model import DataModel
from cmbfit.likelihood.datasets.candl_definition import Definition, follow_index, read_definition
from cmbfit.likelihood.datasets.candl_files import DefinitionFiles, Folder
from cmbfit.likelihood.datasets.candl_priors import read_priors
from cmbfit.likelihood.datasets.candl_selection import selected
from cmbfit.likelihood.datasets.candl_windows import read_windows
from cmbfit.likelihood.priors import JointGaussian, Prior
from cmbfit.likelihood.steps import Add, AddBinned, Derivative, Measured, Rescale, Setting, Step, build_step
from cmbfit.likelihood.steps.lensing import KK_OF_PP

__all__ = ["CandlData", "Folder", "read_candl"]


@dataclass(frozen=True)
class CandlData:
    """Numbers of a candl-format data set, cut as its definition and the user say.

    Attributes
    ----------
    model : DataModel
        Spectra, windows and steps.
    data : numpy.ndarray, shape (n,)
    covariance : numpy.ndarray, shape (n, n)
        Corrected for a finite number of simulations where the definition asks for it.
    beam : numpy.ndarray or None, shape (n, n)
        What the covariance has per product of two bandpowers of the model, corrected likewise.
    nuisance : dict of str to Prior
        Priors that the definition gives to its own parameters.
    joint_priors : tuple of JointGaussian
    other_priors : tuple of str
        Parameters with a prior in the definition that act on nothing here, tau for example. They are not used.
    selects : bool
        Whether the definition itself leaves bandpowers out.
    notes : tuple of str
        What is to be said about it.
    """

    model: DataModel
    data: np.ndarray
    covariance: np.ndarray
    beam: np.ndarray | None
    nuisance: dict[str, Prior]
    joint_priors: tuple[JointGaussian, ...]
    other_priors: tuple[str, ...]
    selects: bool
    notes: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Its nuisance parameters."""
        return self.model.parameters

    @property
    def calibrations(self) -> set[str]:
        """Parameters that calibrate and do nothing else."""
        others = {p for s in self.model.steps if not isinstance(s, Rescale) for p in s.parameters}
        return set(self.parameters) - others

    @property
    def lensing(self) -> bool:
        """Whether it is of lensing bandpowers with corrections or templates, which are not cut in multipole."""
        return any(isinstance(step, AddBinned) for step in self.model.steps)

    def windows(self) -> dict[str, np.ndarray]:
        """Return the windows on D_l of the CMB of each spectrum, aberration folded in, shape (n_bins, lmax + 1)."""
        return {s.name: self.model.window(i).numpy() for i, s in enumerate(self.model.spectra)}


def read_candl(
    files: Mapping[str, bytes], definition: str, cuts: Ranges | None = None, *, variant: str | None = None
) -> CandlData:
    """Read a data set.

    Parameters
    ----------
    files : mapping of str to bytes
        All files; see :class:`Folder`.
    definition : str
        Path of the YAML file among them, or of an index of variants.
    cuts : mapping of str to (int, int), optional
        Pair to the first and last multipole kept, of bandpowers that the definition keeps.
    variant : str, optional
        Of an index file; its default when omitted.

    Raises
    ------
    DataError
        If a file is missing or malformed.
    LikelihoodError
        If the definition has a key, a form or a step that is not supported, or the cuts leave nothing.
    """
    named = follow_index(DefinitionFiles(files, definition), variant)
    found = read_definition(named)
    spec = found.spec
    data, covariance, beam = _numbers(named, found)
    windows = read_windows(
        named, spec["window_functions_folder"], [s.name for s in found.spectra], found.n_bins
    )
    kept, notes = selected(named, spec.get("data_selection"), found.spectra, windows)
    selects = not kept.all()
    if cuts:
        kept &= _inside(named.definition, found, windows, cuts, kept)
    rows = np.flatnonzero(kept)
    data, covariance = data[rows], np.ascontiguousarray(covariance[np.ix_(rows, rows)])
    beam = None if beam is None else np.ascontiguousarray(beam[np.ix_(rows, rows)])
    factor = _hartlap(named.definition, spec.get("hartlap_correction"), len(data))
    edges = np.cumsum([0, *found.n_bins])
    parts = [w[kept[a:b]] for w, a, b in zip(windows, edges[:-1], edges[1:], strict=True)]
    spectra = tuple(s for s, w in zip(found.spectra, parts, strict=True) if len(w))
    left = [w for w in parts if len(w)]
    setting = _setting(named, found, spectra, left, rows)
    steps = _build(setting, found, named)
    if any(s.name.lower().startswith("kk") for s in spectra):
        left = [KK_OF_PP * w for w in left]
    model = DataModel(spectra, left, steps)
    idle = set(_texts(found.steps)) - set(model.parameters)
    single, joint, others = read_priors(named, spec.get("priors"), model.parameters, idle)
    return CandlData(
        model,
        data,
        covariance * factor,
        None if beam is None else beam * factor,
        single,
        joint,
        others,
        selects,
        tuple(notes),
    )


def _inside(
    where: str, found: Definition, windows: list[np.ndarray], cuts: Ranges, kept: np.ndarray
) -> np.ndarray:
    """Return which of all bandpowers lie inside the user's cuts."""
    pairs = {s.name: s.pair for s in found.spectra}
    padded = {s.name: np.pad(w, ((0, 0), (2, 0))) for s, w in zip(found.spectra, windows, strict=True)}
    inside = kept_rows(where, padded, pairs, cuts, whole=False)
    mask = np.zeros(len(kept), dtype=bool)
    start = 0
    for name, n in zip(pairs, found.n_bins, strict=True):
        mask[start + inside[name]] = True
        start += n
    if not (mask & kept).any():
        raise LikelihoodError(f"{where}: the cuts leave no bandpower")
    return mask


def _numbers(files: DefinitionFiles, found: Definition) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return bandpowers, covariance and the beams' correlation, uncut."""
    spec, n = found.spec, sum(found.n_bins)
    data = np.array(np.atleast_1d(files.table(spec["band_power_file"])), dtype=np.float64)
    if data.shape != (n,):
        raise DataError(
            f"{spec['band_power_file']}: expected the {n} bandpowers of {', '.join(s.name for s in found.spectra)} "
            f"in one column, found shape {data.shape}"
        )
    covariance = _square(files, spec["covariance_file"], n)
    return data, covariance, _square(files, found.beam, n) if found.beam else None


def _square(files: DefinitionFiles, name: str, n: int) -> np.ndarray:
    matrix = np.atleast_2d(files.table(name))
    if matrix.shape != (n, n):
        raise DataError(
            f"{name}: expected a row and a column for each of {n} bandpowers, found shape {matrix.shape}"
        )
    return matrix


def _hartlap(where: str, given: Any, n_data: int) -> float:
    """Return the factor on a covariance estimated from n simulations (Hartlap et al. 2007, eq. 17), for what is kept."""
    if given is None:
        return 1.0
    if not isinstance(given, Mapping) or set(given) != {"N_sims"} or isinstance(given["N_sims"], bool | str):
        raise LikelihoodError(f"{where}: hartlap_correction: expected N_sims: NUMBER alone, found {given!r}")
    n = int(given["N_sims"])
    if n <= n_data + 2:
        raise LikelihoodError(
            f"{where}: hartlap_correction: {n} simulations do not give a covariance of {n_data} bandpowers an inverse"
        )
    return (n - 1) / (n - n_data - 2)


def _setting(
    files: DefinitionFiles,
    found: Definition,
    spectra: tuple[Measured, ...],
    windows: list[np.ndarray],
    rows: np.ndarray,
) -> Setting:
    spec = found.spec
    frequencies: dict[str, dict[str, float]] = {}
    if name := spec.get("effective_frequencies"):
        try:
            table = yaml.safe_load(files.find(name)[1])
            frequencies = {str(k): {str(m): float(nu) for m, nu in row.items()} for k, row in table.items()}
        except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
            raise DataError(
                f"{name}: expected sources with a frequency [GHz] for each map ({error})"
            ) from error
    bands = spec.get("bandpasses") or {}
    if not isinstance(bands, Mapping):
        raise LikelihoodError(f"{files.definition}: bandpasses: expected MAP: FILE, found {bands!r}")
    return Setting(
        spectra=spectra,
        names=tuple(s.name for s in found.spectra),
        ell=np.arange(2.0, 2 + max(w.shape[1] for w in windows)),
        kept=rows,
        n_uncut=sum(found.n_bins),
        windows=tuple(windows),
        table=files.table,
        frequencies=frequencies,
        bandpasses={str(k): files.table(name) for k, name in bands.items()},
    )


def _build(setting: Setting, found: Definition, files: DefinitionFiles) -> list[Step]:
    steps: list[Step] = []
    for entry in found.steps:
        here = Setting(**{**vars(setting), "before": tuple(steps)})
        step = build_step(here, entry, files.code_folder)
        if found.lensing and isinstance(step, Add | Derivative):
            raise LikelihoodError(
                f"{files.definition}: data_model: {entry['Module']} acts on multipoles, and a lensing spectrum's model on bandpowers"
            )
        if not found.lensing and isinstance(step, AddBinned):
            raise LikelihoodError(
                f"{files.definition}: data_model: {entry['Module']} acts on lensing bandpowers, and there are none"
            )
        steps.append(step)
    return steps


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for x in value.values():
            yield from _texts(x)
    elif isinstance(value, list | tuple):
        for x in value:
            yield from _texts(x)
