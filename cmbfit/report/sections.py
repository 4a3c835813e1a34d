"""The sections of the reviewer's page, in their order; each has a template of its key's name.

To add one: a line here, ``templates/<key>.html.jinja``, its figures in :mod:`cmbfit.report.figures`, and, if it shows
data of its own, a JSON product that the workflow hands to the summary under the same key (``Plan.products`` in
pipeline/plan.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from cmbfit.report.figures import PLACES
from cmbfit.report.run import Run


@dataclass(frozen=True)
class Section:
    """One piece of the page.

    Attributes
    ----------
    key : str
        Its anchor and its template's name.
    title : str
    product : str, optional
        Key in ``summary["products"]``; the section is left out of runs without it.
    repeats : bool
        One such section for each fit: the template also gets ``name`` and ``fit``.
    """

    key: str
    title: str
    product: str | None = None
    repeats: bool = False

    @property
    def figures(self) -> tuple[str, ...]:
        """Kinds of figures shown at its end."""
        return PLACES.get(self.key, ())


SECTIONS = (
    Section("checks", "Checks"),
    Section("fit", "Fit", repeats=True),
    Section("models", "Models compared", product="models"),
    Section("freeform", "Free-form primordial spectrum", product="freeform"),
    Section("tension", "Data sets against each other", product="tension"),
    Section("subsets", "Parts of the data", product="subsets"),
    Section("predictive", "Posterior predictive checks", product="predictive"),
    Section("sky", "Sky and spectra"),
    Section("look_elsewhere", "Look-elsewhere", product="look_elsewhere"),
    Section("evaporation", "Evaporating black holes", product="evaporation"),
    Section("blackbody", "Spectrum of the monopole", product="blackbody"),
    Section("birefringence", "Rotation of polarisation", product="birefringence"),
    Section("quantum_states", "Squeezed states", product="quantum_states"),
    Section("theory", "Theory"),
    Section("limits", "Limits"),
    Section("data", "Data"),
    Section("cost", "Cost"),
    Section("citations", "What to cite"),
    Section("reproduce", "Reproduce"),
)


@dataclass(frozen=True)
class Placed:
    """A section as it stands on the page: its anchor, title, figures and the template's variables."""

    section: Section
    anchor: str
    title: str
    figures: list[Any]
    variables: dict[str, Any]
    number: int = 1  # of its first figure, counted over the page


def place_sections(run: Run) -> Iterator[Placed]:
    """Yield the sections that a run has, in order, with figures numbered through."""
    number = 1
    for placed in _placed(run):
        yield replace(placed, number=number)
        number += len(placed.figures)


def _placed(run: Run) -> Iterator[Placed]:
    for section in SECTIONS:
        if section.product is not None and section.product not in run.products:
            continue
        if section.repeats:
            for name, fit in run.fits.items():
                figures = run.figures_of(section.figures, name)
                yield Placed(
                    section, f"{section.key}-{name}", fit["title"], figures, {"name": name, "fit": fit}
                )
        else:
            product = run.products[section.product] if section.product else None
            yield Placed(
                section,
                section.key,
                section.title,
                run.figures_of(section.figures),
                {"product": product},
            )
