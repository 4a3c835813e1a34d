"""A finished run as the page's templates see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cmbfit.blinded import is_blinded
from cmbfit.provenance.citations import Cited, citations
from cmbfit.provenance.graph import Graph, Origin
from cmbfit.report.figures import PageFigure
from cmbfit.report.finding import run_title


@dataclass(frozen=True)
class Run:
    """What is known of a run; paths of products are relative to its folder.

    Attributes
    ----------
    summary : mapping
        The run's summary.json.
    figures : sequence of PageFigure
        In the order of the workflow.
    costs : sequence of mapping
        From :func:`cmbfit.report.costs.read_costs`.
    """

    summary: Mapping[str, Any]
    figures: Sequence[PageFigure]
    costs: Sequence[Mapping[str, Any]]

    @cached_property
    def _graph(self) -> Graph:
        return Graph(self.summary.get("rules", {}))

    @property
    def name(self) -> str:
        """Return the run's name."""
        return str(self.provenance["settings"]["run"]["name"])

    @property
    def title(self) -> str:
        """Return what the run is, in words."""
        return run_title(self.fits, self.name)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Return the run's provenance record."""
        return self.summary["provenance"]

    @property
    def fits(self) -> Mapping[str, Any]:
        """Return the fits by name."""
        return self.summary["fits"]

    @property
    def products(self) -> Mapping[str, Any]:
        """Return the further products that sections show, by the section's key."""
        return self.summary.get("products", {})

    @property
    def checks(self) -> list[Mapping[str, Any]]:
        """Return the checks, failures first."""
        return sorted(self.summary["checks"], key=lambda c: bool(c["pass"]))

    @property
    def checks_by_source(self) -> list[tuple[str, list[Mapping[str, Any]]]]:
        """Return the checks of each file, files with failures first."""
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for check in self.checks:
            groups.setdefault(check["source"], []).append(check)
        return list(groups.items())

    @property
    def licences(self) -> list[tuple[str, list[str]]]:
        """Return each licence of the data with the groups of files under it."""
        found: dict[str, list[str]] = {}
        for entry in self.provenance["data"]:
            groups = found.setdefault(entry["licence"], [])
            if (group := entry["name"].split("/")[0]) not in groups:
                groups.append(group)
        return list(found.items())

    @property
    def blinding(self) -> Mapping[str, Any] | None:
        """Return what a run with ``run.blind`` hides or hid, and the record of its opening; None for others."""
        return self.summary.get("blinding")

    @property
    def blinded(self) -> bool:
        """Return whether the parameters are hidden."""
        return is_blinded(self.summary)

    @property
    def n_failed(self) -> int:
        """Return how many checks failed."""
        return sum(not c["pass"] for c in self.summary["checks"])

    @property
    def approximations(self) -> list[tuple[str, str]]:
        """Return title and approximation of each data set that is approximate, once."""
        found = {d["title"]: d["approximation"] for fit in self.fits.values() for d in fit["data"]}
        return [(title, text) for title, text in found.items() if text]

    @property
    def citations(self) -> list[Cited]:
        """Return the papers that the run owes."""
        return citations(self.summary)

    def origin(self, product: str) -> Origin | None:
        """Return the rule, log and benchmark of a product."""
        return self._graph.origin(product)

    def figures_of(self, kinds: Sequence[str], subject: str | None = None) -> list[PageFigure]:
        """Return the figures of some kinds, in the order of `kinds`; of one subject, unless it is None."""
        return [f for kind in kinds for f in self.figures if f.kind == kind and subject in (None, f.subject)]
