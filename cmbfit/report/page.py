"""The reviewer's page: parameters against published values, checks, figures, data, cost; one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from cmbfit.errors import DataError
from cmbfit.inference.goodness import excess, goodness
from cmbfit.inference.model_text import COLUMNS, model_notes, model_rows, number_columns
from cmbfit.report.captions import caption_of
from cmbfit.report.costs import timeline
from cmbfit.report.figures import read_figure
from cmbfit.report.finding import UNITS, finding, prior_words, shown, spans
from cmbfit.report.latex import latex_table
from cmbfit.report.run import Run
from cmbfit.report.sections import SECTIONS, place_sections
from cmbfit.report.symbols import meaning, show, significant, symbol, with_symbols


def _plain(value: Any) -> Any:
    """Return a configuration in types that YAML knows."""
    if isinstance(value, Mapping):
        return {str(k): _plain(x) for k, x in value.items()}
    return [_plain(x) for x in value] if isinstance(value, list | tuple) else value


def shift_head(name: str) -> tuple[str, str]:
    """Return the head of a column of a shifted parameter."""
    return (name, "n")


def environment() -> jinja2.Environment:
    """Return the templates with what they all call."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cmbfit.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shift_head"] = shift_head
    environment.globals |= {
        "significant": significant,
        "show": show,
        "symbol": symbol,
        "with_symbols": with_symbols,
        "meaning": meaning,
        "units": UNITS,
        "excess": excess,
        "goodness": goodness,
        "spans": spans,
        "prior_words": prior_words,
        "shown": shown,
        "finding": finding,
        "caption_of": caption_of,
        "latex_table": latex_table,
        "timeline": timeline,
        "model_rows": model_rows,
        "model_notes": model_notes,
        "number_columns": number_columns,
        "MODEL_COLUMNS": COLUMNS,
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
        environment()
        .get_template("page.html.jinja")
        .render(
            run=run,
            placed=list(place_sections(run)),
            config=yaml.safe_dump(
                _plain(run.provenance["settings"]),
                sort_keys=False,
                allow_unicode=True,
                default_flow_style=None,
                width=100,
            ),
        )
    )
