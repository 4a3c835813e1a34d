"""The reviewer's page: parameters against published values, checks, figures, data, cost; one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from latex2mathml.converter import convert
from markupsafe import Markup
from scipy.special import gammaincc

from cmbfit.errors import DataError
from cmbfit.inference.model_text import model_rows
from cmbfit.report.figures import read_figure
from cmbfit.report.run import Run
from cmbfit.report.sections import SECTIONS, place_sections
from cmbfit.theory.parameters import PARAMETERS


def significant(value: float, error: float) -> str:
    """Format a value to two digits of its error.

    Examples
    --------
    >>> significant(67.2751, 0.6012), significant(3.04422, 0.0)
    ('67.28', '3.04422')
    """
    if error <= 0:
        return f"{value:.6g}"
    digits = max(0, 1 - int(f"{error:e}".split("e")[1]))
    return f"{value:.{digits}f}"


def show(form: str, value: float) -> str:
    """Format a number with a printer's minus sign.

    Examples
    --------
    >>> show("%+.2f", -0.06)
    '−0.06'
    """
    return (form % value).replace("-", "\u2212")


def _symbol(name: str) -> Markup:
    """Return a parameter's label as MathML, which browsers draw without a library."""
    if name in PARAMETERS:
        return Markup(convert(PARAMETERS[name].latex))  # noqa: S704 (our own labels)
    # a user's name: the converter would pass on HTML in \text{...} and addresses in \href{...}
    return Markup('<math display="inline"><mi mathvariant="normal">{}</mi></math>').format(name)


def _meaning(name: str) -> str:
    return PARAMETERS[name].meaning if name in PARAMETERS else "nuisance parameter"


def _excess(chi2: float, n: int) -> float:
    """Return the probability that chi2 of `n` data exceeds the value found."""
    return float(gammaincc(n / 2, chi2 / 2))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cmbfit.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "significant": significant,
        "show": show,
        "symbol": _symbol,
        "meaning": _meaning,
        "excess": _excess,
        "model_rows": model_rows,
    }
    return environment


def render(
    summary: Mapping[str, Any], figures: Sequence[str | Path], costs: Sequence[Mapping[str, Any]]
) -> str:
    """Return the page as HTML text with all figures, styles and scripts inside.

    Parameters
    ----------
    summary : mapping
        The run's summary.json.
    figures : sequence of paths
        PNG files; each must belong to a section.
    costs : sequence of mapping
        From :func:`cmbfit.report.costs.read_costs`.

    Raises
    ------
    DataError
        If a figure is missing, or no section shows it.
    """
    run = Run(summary, [read_figure(path) for path in figures], costs)
    shown = {kind for section in SECTIONS for kind in section.figures}
    if lost := [f.stem for f in run.figures if f.kind not in shown]:
        raise DataError(f"no section of the report shows {', '.join(lost)}: see cmbfit/report/sections.py")
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            run=run,
            placed=list(place_sections(run)),
            config=json.dumps(run.provenance["settings"], indent=2),
        )
    )
