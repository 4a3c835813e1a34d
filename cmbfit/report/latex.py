"""The table of parameters for a paper, in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cmbfit.errors import one_line
from cmbfit.report.symbols import significant
from cmbfit.theory.parameters import latex_label

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    c: "\\" + c for c in "&%$#_{}"
}


def latex_text(text: str) -> str:
    r"""Return a text with LaTeX's special characters escaped.

    Examples
    --------
    >>> latex_text("plik & co, 2_bins")
    'plik \\& co, 2\\_bins'
    """
    return re.sub(r"[\\~^&%$#_{}]", lambda found: _SPECIAL[found[0]], text)


def latex_table(fits: Mapping[str, Mapping[str, Any]], *, blinded: bool = False) -> str:
    """Return a ``tabular`` of all fits side by side: mean ± standard deviation of each parameter, best fit chi2 below.

    Parameters
    ----------
    fits : mapping of str to mapping
        Summaries by name, as in the run's summary.json.
    blinded : bool
        Say in the table's first row that the values are shifted.
    """
    names = list(dict.fromkeys(p for fit in fits.values() for p in fit["parameters"]))
    columns = "l" + "c" * len(fits)
    lines = [
        *(f"% {latex_text(name)}: {one_line(fit['title'])}" for name, fit in fits.items()),
        "% mean and standard deviation of the marginal posterior",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\hline",
        *([rf"\multicolumn{{{len(fits) + 1}}}{{c}}{{BLINDED: shifted values}} \\"] if blinded else []),
        " & ".join(["Parameter", *(latex_text(name) for name in fits)]) + r" \\",
        r"\hline",
    ]
    for name in names:
        cells = [_cell(fit["parameters"].get(name)) for fit in fits.values()]
        lines.append(" & ".join([f"${latex_label(name)}$", *cells]) + r" \\")
    lines += [
        r"\hline",
        " & ".join([r"$\chi^2$ at the best fit", *(f"${f['chi2']['total']:.2f}$" for f in fits.values())])
        + r" \\",
    ]
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "---"
    mean, std = entry["mean"], entry["std"]
    return rf"${significant(mean, std)} \pm {significant(std, std)}$"
