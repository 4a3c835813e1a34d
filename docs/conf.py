"""Sphinx configuration: `make docs` builds the site, and a warning is an error."""

from __future__ import annotations

import re
from typing import Any

import cmbfit

project = "cmbfit"
author = "The cmbfit developers"
release = cmbfit.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = f"cmbfit {release}"
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # numpydoc sections already give types, with shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
nitpicky = False
suppress_warnings = [
    "myst.xref_missing",  # links to files of the repository, which GitHub resolves
    "ref.python",  # short attribute names (n, lmax) that several classes have
]


def _absolute_values(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Let |x| in a docstring be an absolute value, not a substitution of reStructuredText."""
    for i, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[i] = "".join(x if x.startswith("``") else x.replace("|", r"\|") for x in parts)


def setup(app: Any) -> None:
    """Connect the hooks."""
    app.connect("autodoc-process-docstring", _absolute_values)
