"""Training sets: chunks of Boltzmann spectra on disk, each a file that stands alone.

A chunk is a compressed ``.npz`` (no pickles) with ``theta``, ``dl``, ``derived`` and its own
settings. A point at which the Boltzmann code fails is recorded with the reason, never dropped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import camb
import numpy as np

from cmbfit.checkpoint import Checkpoint, kept, require_made_of
from cmbfit.errors import DataError, ParameterError
from cmbfit.io import atomic_buffer, parse_json, reading
from cmbfit.theory.camb_code import CambSettings, spectra_of_one_background
from cmbfit.theory.emulator.design import Design
from cmbfit.theory.extensions import EXTENSIONS, PRIMORDIAL_EXTENSIONS
from cmbfit.theory.parameters import DERIVED, LCDM, PRIMORDIAL

_AXES = {"theta": 2, "dl": 3, "unlensed": 3, "derived": 2, "background": 1}
_ARRAYS = tuple(_AXES)


@dataclass(frozen=True)
class TrainingSet:
    """Spectra at points of parameter space.

    Attributes
    ----------
    theta : numpy.ndarray, shape (n, n_parameters)
        Columns as in `names`.
    dl : numpy.ndarray, shape (n, 5, lmax + 1)
        D_l [uK^2] of tt, te, ee, bb and [L(L+1)]^2 C_L^pp / 2pi, l from 0.
    unlensed : numpy.ndarray, shape (n, 3, lmax + 1)
        Unlensed D_l [uK^2] of tt, te, ee: what a change of the lensing potential starts from.
    derived : numpy.ndarray, shape (n, len(DERIVED))
    background : numpy.ndarray, shape (n,)
        Which background a row belongs to: held-out sets must not share one with the training set.
    failures : list of dict
        Points at which the code failed: parameters and reason.
    settings : dict
        Design and code settings.
    names : tuple of str
        :data:`~cmbfit.theory.parameters.LCDM`, then the parameters of an extension.
    """

    theta: np.ndarray
    dl: np.ndarray
    unlensed: np.ndarray
    derived: np.ndarray
    background: np.ndarray
    failures: list[dict[str, Any]]
    settings: dict[str, Any]
    names: tuple[str, ...] = LCDM

    def select(self, rows: np.ndarray) -> TrainingSet:
        """Return the rows named by an index or boolean array."""
        return TrainingSet(
            self.theta[rows],
            self.dl[rows],
            self.unlensed[rows],
            self.derived[rows],
            self.background[rows],
            self.failures,
            self.settings,
            self.names,
        )


def compute_chunk(
    design: Design,
    index: int,
    settings: CambSettings,
    log: Callable[[str], None] = print,
    store: Checkpoint | None = None,
) -> TrainingSet:
    """Run CAMB over one chunk of a design, with a progress line per background, which go to a checkpoint one by one."""
    backgrounds, primordial = design.chunk(index)
    names = (*LCDM, *design.extension)
    theta, dl, unlensed, derived, number, failures = [], [], [], [], [], []
    start = time.perf_counter()
    for i, (row, draws) in enumerate(zip(backgrounds, primordial, strict=True)):
        background = dict(zip(design.background_names, row.tolist(), strict=True))
        late = [dict(zip(design.draw_names, draw, strict=True)) for draw in draws.tolist()]
        run = kept(store, f"background_{i}", partial(_run, settings, background, late))
        if "failed" in run:
            reason = str(run["failed"])
            failures.append({**background, "draws": draws.tolist(), "reason": reason})
            log(f"chunk {index}: point {background} failed: {reason}")
            continue
        dl.append(run["dl"])
        unlensed.append(run["unlensed"])
        derived.append(run["derived"])
        number += [index * design.per_chunk + i] * len(draws)
        theta += [[(background | draw)[name] for name in names] for draw in late]
        seconds = (time.perf_counter() - start) / (i + 1)
        log(f"chunk {index}: background {i + 1}/{len(backgrounds)}, {seconds:.1f} s each")
    if not theta:
        raise DataError(
            f"chunk {index}: the Boltzmann code failed at every point; first reason: {failures[0]}"
        )
    return TrainingSet(
        np.array(theta),
        np.concatenate(dl),
        np.concatenate(unlensed),
        np.concatenate(derived),
        np.array(number),
        failures,
        chunk_settings(design, settings),
        names,
    )


def chunk_settings(design: Design, settings: CambSettings) -> dict[str, Any]:
    """Return what a chunk is made with, JSON-able."""
    return {"design": design.settings(), "camb": {"version": camb.__version__, **asdict(settings)}}


def _run(
    settings: CambSettings, background: Mapping[str, float], late: Sequence[Any]
) -> dict[str, np.ndarray | str]:
    """Return the spectra of one background, or why there are none."""
    try:
        dl, unlensed, derived = spectra_of_one_background(settings, background, late)
    except ParameterError as error:
        return {"failed": str(error)}
    return {"dl": dl, "unlensed": unlensed, "derived": derived}


def require_design(runs: TrainingSet, product: str | Path, design: Design, settings: CambSettings) -> None:
    """Refuse a training set of another design or other settings than these, naming what differs (ResumeError)."""
    require_made_of(product, runs.settings, chunk_settings(design, settings))


def compute_points(
    theta: np.ndarray,  # shape: (n, 6 or more)
    settings: CambSettings,
    log: Callable[[str], None] = print,
    store: Checkpoint | None = None,
    names: tuple[str, ...] = LCDM,
) -> TrainingSet:
    """Run CAMB at given points, each with a background of its own; a failure raises ParameterError.

    Finished points go to a checkpoint one by one. `names` are the columns: LCDM's, then those of an extension.
    """
    dl, unlensed, derived = [], [], []
    for i, row in enumerate(theta.tolist()):
        background = dict(zip(names, row, strict=True))
        draw = {n: background.pop(n) for n in (*PRIMORDIAL, *PRIMORDIAL_EXTENSIONS) if n in background}
        run = kept(store, f"point_{i}", partial(_run, settings, background, [draw]))
        if "failed" in run:
            raise ParameterError(str(run["failed"]))
        dl.append(run["dl"])
        unlensed.append(run["unlensed"])
        derived.append(run["derived"])
        log(f"point {i + 1}/{len(theta)}")
    record = {"camb": {"version": camb.__version__, **asdict(settings)}}
    return TrainingSet(
        theta,
        np.concatenate(dl),
        np.concatenate(unlensed),
        np.concatenate(derived),
        np.arange(len(theta)),
        [],
        record,
        names,
    )


def write_chunk(path: str | Path, chunk: TrainingSet) -> None:
    """Publish a chunk atomically."""
    record = {
        "settings": chunk.settings,
        "failures": chunk.failures,
        "parameters": chunk.names,
        "derived": DERIVED,
    }
    with atomic_buffer(path) as f:
        np.savez_compressed(
            f,
            theta=chunk.theta,
            dl=chunk.dl,
            unlensed=chunk.unlensed,
            derived=chunk.derived,
            background=chunk.background,
            record=np.frombuffer(json.dumps(record, sort_keys=True).encode(), dtype=np.uint8),
        )


def read_training_set(paths: Sequence[str | Path], *, unlensed: bool = True) -> TrainingSet:
    """Join chunks; all must come from the same settings.

    Parameters
    ----------
    paths : sequence of str or Path
    unlensed : bool
        False leaves the unlensed spectra out (no multipoles), which saves a third of the memory.

    Raises
    ------
    DataError
        If a chunk is damaged, has other columns, or was made with other settings than the first.
    """
    if not paths:
        raise DataError("a training set needs at least one chunk")
    parts: list[TrainingSet] = []
    for path in paths:
        with (
            reading(path, "a chunk of a training set (damaged: remove it and run again)"),
            Path(path).open("rb") as raw,
            np.load(raw, allow_pickle=False) as f,
        ):
            record = parse_json(f["record"].tobytes())
            part = TrainingSet(
                f["theta"],
                f["dl"],
                f["unlensed"] if unlensed else np.empty((len(f["theta"]), 3, 0)),
                f["derived"],
                f["background"],
                record["failures"],
                dict(record["settings"]),
                tuple(map(str, record["parameters"])),
            )
            derived = tuple(record["derived"])
        known = part.names[: len(LCDM)] == LCDM and set(part.names[len(LCDM) :]) <= set(EXTENSIONS)
        primordial = "primordial" in part.settings  # exact spectra of a fit with parameters of its own
        if not (known or primordial) or derived != DERIVED:
            raise DataError(f"{path}: columns differ from this version's: {part.names}, {derived}")
        shapes = {name: getattr(part, name).shape for name in _ARRAYS}
        if {n: len(x) for n, x in shapes.items()} != _AXES or len({x[0] for x in shapes.values()}) > 1:
            raise DataError(
                f"{path}: expected arrays of as many rows, with {_AXES} axes, found the shapes {shapes}; remove it and run again"
            )
        if part.theta.shape[1] != len(part.names):
            raise DataError(
                f"{path}: theta has shape {part.theta.shape} for spectra of {len(part.names)} parameters"
            )
        if parts and part.settings != parts[0].settings:
            changed = [k for k in part.settings if part.settings[k] != parts[0].settings[k]]
            raise DataError(f"{path}: made with other settings than {paths[0]}: {', '.join(changed)} differ")
        parts.append(part)
        del part
    return join(parts)


def join(parts: list[TrainingSet]) -> TrainingSet:
    """Join training sets of the same settings; the list is emptied."""
    first = parts[0]
    fields: dict[str, list[np.ndarray]] = {name: [getattr(p, name) for p in parts] for name in _ARRAYS}
    failures = [failure for p in parts for failure in p.failures]
    settings, names = first.settings, first.names
    parts.clear()
    del first  # so that each field's pieces go when they are joined: spectra fill gigabytes
    joined = {name: np.concatenate(fields.pop(name)) for name in _ARRAYS}
    return TrainingSet(**joined, failures=failures, settings=settings, names=names)
