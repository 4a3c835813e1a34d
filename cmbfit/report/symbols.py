"""Numbers and parameters as the page writes them: digits by the error, a printer's minus, symbols as MathML."""

from __future__ import annotations

import re

from latex2mathml.converter import convert
from markupsafe import Markup, escape

from cmbfit.theory.parameters import PARAMETERS

# a parameter's name in a text is one only before what is said of it: "age" and "r" are words and letters too
_NAMES = re.compile(rf"\b({'|'.join(map(re.escape, PARAMETERS))})\b(?=:| [=<>±]| in \[| [+−-]?\d)")


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


def symbol(name: str) -> Markup:
    """Return a parameter's label as MathML, which browsers draw without a library."""
    if name in PARAMETERS:
        return Markup(convert(PARAMETERS[name].latex))  # noqa: S704 (our own labels)
    # a user's name: the converter would pass on HTML in \text{...} and addresses in \href{...}
    return Markup('<math display="inline"><mi mathvariant="normal">{}</mi></math>').format(name)


def meaning(name: str) -> str:
    """Return what a parameter is, in words."""
    return PARAMETERS[name].meaning if name in PARAMETERS else "nuisance parameter"


def with_symbols(text: str) -> Markup:
    """Return a text in which parameters that something is said of stand as symbols, all else escaped.

    Examples
    --------
    >>> "<math" in with_symbols("ombh2: mean - reference"), with_symbols("the age of <b>")
    (True, Markup('the age of &lt;b&gt;'))
    """
    out, at = Markup(), 0
    for found in _NAMES.finditer(text):
        out += escape(text[at : found.start()]) + symbol(found[1])
        at = found.end()
    return out + escape(text[at:])
