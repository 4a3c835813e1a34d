"""Fits of several runs side by side: what differs in what they are, and in what came out; one offline page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmbfit.blinded import in_blinded_folder, is_blinded
from cmbfit.errors import DataError, unknown_name
from cmbfit.inference.products import Samples, read_samples
from cmbfit.inference.shifts import PARTLY, SAME, Shift, relation, shift_of
from cmbfit.io import provenance, read_json, reading
from cmbfit.report.figures import read_figure
from cmbfit.report.page import environment
from cmbfit.theory.extensions import EXTENSIONS
from cmbfit.theory.parameters import LCDM

_FIT = ("priors", "primordial")
_RECORD = ("emulator", "cmbfit", "packages")
"""Of a run's record: what moves numbers and is not in the configuration."""


@dataclass(frozen=True)
class Column:
    """A fit of a finished run.

    Attributes
    ----------
    label : str
        ``run`` or ``run: fit``, unique.
    folder : Path
        Of the run.
    fit : str
    summary, record : mapping
        The fit's part of summary.json, and the run's provenance.
    samples : Samples
    """

    label: str
    folder: Path
    fit: str
    summary: Mapping[str, Any]
    record: Mapping[str, Any]
    samples: Samples


def read_columns(folders: Sequence[Path], fits: Sequence[str] = ()) -> list[Column]:
    """Return the fits of finished runs, or those that are named, in the order of the folders.

    Raises
    ------
    DataError
        If a folder holds no finished run, a fit is in none of them, or fewer than two fits are left.
    """
    found: list[tuple[str, Path, str, Mapping[str, Any], Mapping[str, Any]]] = []
    for folder in folders:
        path = folder / "summary.json"
        if not path.is_file():
            raise DataError(
                f"{folder}: no summary.json; expected the folder of a finished run (results/NAME, fits/NAME)"
            )
        with reading(path, "the summary of a run"):
            whole = read_json(path)
            run = str(whole["provenance"]["settings"]["run"]["name"])
            found += [(run, folder, name, fit, whole["provenance"]) for name, fit in whole["fits"].items()]
    if unknown := [name for name in fits if name not in {row[2] for row in found}]:
        raise DataError(unknown_name("fit", unknown[0], sorted({row[2] for row in found})))
    found = [row for row in found if not fits or row[2] in fits]
    _refuse_to_show_a_shift({row[1] for row in found})
    if len(found) < 2:
        raise DataError(f"{len(found)} fit in {', '.join(map(str, folders))}: give at least two to compare")
    labels = _labels([(row[0], row[1], row[2]) for row in found])
    return [
        Column(label, folder, name, fit, record, read_samples(folder / "chains" / f"{name}.samples.h5"))
        for label, (_, folder, name, fit, record) in zip(labels, found, strict=True)
    ]


def _refuse_to_show_a_shift(folders: Iterable[Path]) -> None:
    """Refuse runs that are not blinded alike: their difference is the hidden shift."""
    marks = {}
    for folder in folders:
        whole = read_json(folder / "summary.json")
        marks[folder] = whole["blinding"]["commitment"] if is_blinded(whole) else ""
    if len(set(marks.values())) > 1:
        hidden = sorted(str(folder) for folder, mark in marks.items() if mark)
        raise DataError(
            f"{', '.join(hidden)}: blinded, the others not or with another secret: side by side they would show the hidden "
            "shift; compare runs of one secret, or `cmbfit unblind` first"
        )


def _labels(rows: Sequence[tuple[str, Path, str]]) -> list[str]:
    """Return the shortest of run, fit, both, folder and fit that tells all apart."""
    for words in (
        [run for run, _, _ in rows],
        [fit for _, _, fit in rows],
        [f"{run}: {fit}" for run, _, fit in rows],
        [f"{folder}: {fit}" for _, folder, fit in rows],
    ):
        if len(set(words)) == len(words):
            return words
    raise DataError("a folder is given twice: give different runs to compare")


def shifts(columns: Sequence[Column]) -> list[Shift]:
    """Return how far each fit after the first lies from it."""
    first = columns[0]
    out = []
    for other in columns[1:]:
        both = [p for p in _sampled(first) if p in _sampled(other)]
        kind = relation(first.summary["data"], other.summary["data"])
        pair = [(c.samples.names, c.samples.joined) for c in (first, other)]
        out.append(shift_of(kind, pair[0], pair[1], both))
    return out


def _sampled(column: Column) -> list[str]:
    """Return the sampled parameters of the theory: those of the data sets scatter with the data's own priors."""
    names = column.samples.names[: column.samples.n_sampled]
    return [p for p in names if p in (*LCDM, *EXTENSIONS)]


def differences(columns: Sequence[Column]) -> list[tuple[str, list[str]]]:
    """Return the settings that are not alike: their place, and the value in each fit ("" where it has none)."""
    flat = [dict(_leaves(_settings(c))) for c in columns]
    places = list(dict.fromkeys(place for leaves in flat for place in leaves))
    rows = [(place, [leaves.get(place, "") for leaves in flat]) for place in places]
    return [(place, values) for place, values in rows if len(set(values)) > 1]


def _settings(column: Column) -> dict[str, Any]:
    config = column.record["settings"]
    section = config.get("fits", {}).get(column.fit, {})
    data = {d["name"]: d["sky"] for d in column.summary["data"]}
    record = {k: column.record[k] for k in _RECORD if k in column.record}
    record["emulator"] = (record.get("emulator") or {}).get("arrays_sha256", "")[:12]
    rest = {k: v for k, v in config.items() if k not in ("fits", "run", "comparison")}
    return {
        "data": data,
        "fit": {
            **{k: column.summary.get(k) for k in _FIT},
            **{k: v for k, v in section.items() if k != "data"},
        },
        "seed": config["run"].get("seed"),
        "made by": record,
        "files": {d["name"]: f"sha256 {d['sha256'][:12]}" for d in column.record.get("data", ())},
        "configuration": rest,
    }


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def page(columns: Sequence[Column], names: Sequence[str], figures: Sequence[Path]) -> str:
    """Return the page as HTML text with its figures inside.

    Parameters
    ----------
    columns : sequence of Column
        The first is the reference.
    names : sequence of str
        Parameters of the table.
    figures : sequence of path
        PNG files of :data:`~cmbfit.report.figures.CAPTIONS`' kinds.
    """
    found = shifts(columns)
    counted = sum(bool(s.expected[p] == s.expected[p]) for s in found for p in names if p in s.expected)
    data_names = dict.fromkeys(d for c in columns for d in c.summary["chi2"] if d != "total")
    record = provenance()
    return str(
        environment()
        .get_template("compared.html.jinja")
        .render(
            columns=columns,
            shifts=found,
            names=names,
            n_compared=counted,
            data_names=[*data_names, "total"],
            differences=differences(columns),
            figures=[read_figure(path) for path in figures],
            blinded=any(in_blinded_folder(path) for path in figures),
            created=record["created"],
            version=record["cmbfit"],
            SAME=SAME,
            PARTLY=PARTLY,
        )
    )
