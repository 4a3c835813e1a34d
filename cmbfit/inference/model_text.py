"""The table of compared models as text: one row a model, for the page, the CSV file and the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COLUMNS = {
    "model": "model",
    "parameters": "p",
    "constraint": "extra parameters",
    "prior": "their priors",
    "delta_chi2": "Δχ²",
    "delta_aic": "ΔAIC",
    "delta_bic": "ΔBIC",
    "ln_b": "ln B (evidence)",
    "ln_b_savage_dickey": "ln B (Savage-Dickey)",
    "look_elsewhere": "global p",
    "published": "published",
    "remarks": "remarks",
}
"""Key of a row to its heading. Differences are model minus reference; ln B > 0 speaks for the model."""


def model_rows(table: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the rows of a comparison, every cell as text.

    Parameters
    ----------
    table : mapping
        From :func:`cmbfit.inference.model_table.compare`.
    """
    return [_row(model, model["name"] == table["reference"]) for model in table["models"]]


def _row(model: Mapping[str, Any], reference: bool) -> dict[str, str]:
    priors = {p: model["priors"][p] for p in model["extra_parameters"]}
    return {
        "model": model["title"],
        "parameters": str(model["n_parameters"]),
        "constraint": constraints_text(model),
        "prior": "; ".join(f"{p} {prior_text(x)}" for p, x in priors.items()),
        "delta_chi2": "0 (reference)" if reference else f"{model['delta_chi2']['total']:+.2f}",
        "delta_aic": "0" if reference else f"{model['delta_aic']:+.2f}",
        "delta_bic": "0" if reference else _number(model["delta_bic"], "+.2f"),
        "ln_b": "0" if reference and model["evidence"] else _bayes(model["evidence"]),
        "ln_b_savage_dickey": _bayes(model["savage_dickey"]),
        "look_elsewhere": _global(model["look_elsewhere"]),
        "published": model.get("published", ""),
        "remarks": "; ".join(_remarks(model)),
    }


def number_columns(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the keys of the columns of numbers that any model has."""
    numbers = (
        "parameters",
        "delta_chi2",
        "delta_aic",
        "delta_bic",
        "ln_b",
        "ln_b_savage_dickey",
        "look_elsewhere",
    )
    return [key for key in numbers if any(row[key] not in ("", "0") for row in rows)]


def model_notes(table: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what is said of each model in words, by title: (what it is, text) of what there is."""
    said = ("constraint", "prior", "published", "remarks")
    rows = model_rows(table)
    notes = [(row["model"], [(COLUMNS[key], row[key]) for key in said if row[key]]) for row in rows]
    return [(title, texts) for title, texts in notes if texts]


def prior_text(prior: Mapping[str, Any]) -> str:
    """Return a prior in words.

    Examples
    --------
    >>> prior_text({"uniform": [0.0, 0.5]}), prior_text({"gaussian": [1.0, 0.0025]})
    ('in [0, 0.5]', '1 ± 0.0025')
    """
    kind, (a, b) = next(iter(prior.items()))
    return f"in [{a:g}, {b:g}]" if kind == "uniform" else f"{a:g} ± {b:g}"


def constraints_text(model: Mapping[str, Any]) -> str:
    """Return what the data leave of a model's own parameters, or what they are held at."""
    if model["fixed"]:
        return "; ".join(f"{p} = {x:g} (fixed)" for p, x in model["fixed"].items())
    extra = {p: c for p, c in model["constraints"].items() if p in model["extra_parameters"]}
    return "; ".join(
        f"{p} {c['text']}" if c["text"][0] in "<>u" else f"{p} = {c['text']}" for p, c in extra.items()
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _bayes(entry: Mapping[str, Any] | None) -> str:
    if entry is None or "ln_b" not in entry:
        return ""
    error = f" ± {entry['error']:.1g}" if entry["error"] else ""  # none: a closed form
    return f"{entry['ln_b']:+.2f}{error}"


def _global(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    sigma = f" ({entry['sigma']:.1f}σ)" if entry.get("sigma") is not None else ""
    return f"{entry['p_value']:.3g}{sigma}"


def _remarks(model: Mapping[str, Any]) -> list[str]:
    out = list(model["remarks"])
    for key, name in (("savage_dickey", "Savage-Dickey"), ("evidence", "evidence")):
        if model[key] and "why_not" in model[key]:
            out.append(f"no {name}: {model[key]['why_not'].removeprefix('Savage-Dickey: ')}")
    if model["theory_difference"] is not None:
        out.append(f"Δχ² at the same point by its theory code {model['theory_difference']:+.2f}")
    return out


def model_columns(tables: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return all tables as columns for a CSV file, the reference's name first.

    Numbers stand in columns of numbers, each error and each sigma in one of its own; nan where there is none.
    """
    rows = [
        {
            "reference": table["reference"],
            **row,
            **_numbers(model, model["name"] == table["reference"]),
        }
        for table in tables
        for row, model in zip(model_rows(table), table["models"], strict=True)
    ]
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _numbers(model: Mapping[str, Any], reference: bool) -> dict[str, float]:
    """Return what :func:`_row` shows as text as numbers; a model's differences from itself are zero."""
    zero = {"ln_b": 0.0, "error": 0.0} if reference and model["evidence"] else None
    bayes = {"ln_b": zero or model["evidence"], "ln_b_savage_dickey": model["savage_dickey"]}
    found: dict[str, float | None] = {
        "parameters": model["n_parameters"],
        "delta_chi2": 0.0 if reference else model["delta_chi2"]["total"],
        "delta_aic": 0.0 if reference else model["delta_aic"],
        "delta_bic": 0.0 if reference else model["delta_bic"],
    }
    for key, entry in bayes.items():
        found[key], found[f"{key}_error"] = ((entry or {}).get(x) for x in ("ln_b", "error"))
    search = model["look_elsewhere"] or {}
    found["look_elsewhere"], found["look_elsewhere_sigma"] = (search.get(x) for x in ("p_value", "sigma"))
    return {key: math.nan if value is None else value for key, value in found.items()}


def text_table(table: Mapping[str, Any]) -> str:
    """Return a comparison as lines for a terminal."""
    keys = ("model", "delta_chi2", "delta_aic", "delta_bic", "ln_b", "ln_b_savage_dickey", "look_elsewhere")
    rows = [{k: COLUMNS[k] for k in keys}, *({k: row[k] for k in keys} for row in model_rows(table))]
    widths = {k: max(len(row[k]) for row in rows) for k in keys}
    lines = ["  ".join(row[k].ljust(widths[k]) for k in keys).rstrip() for row in rows]
    notes = [f"{m['title']}: {r}" for m, r in zip(table["models"], _all_remarks(table), strict=True) if r]
    data = ", ".join(d["name"] for d in table["data"])
    return "\n".join([f"data: {data}; n = {table['n_data']}", *lines, *notes])


def _all_remarks(table: Mapping[str, Any]) -> list[str]:
    return ["; ".join(x for x in (constraints_text(m), *_remarks(m)) if x) for m in table["models"]]
