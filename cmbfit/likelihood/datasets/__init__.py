"""The data sets: one folder each with a ``dataset.yaml``; :func:`load_likelihood` makes them callable."""

from __future__ import annotations

from typing import Any

from cmbfit.likelihood.datasets.load import dataset_names, description, load_likelihood
from cmbfit.likelihood.datasets.reference import check_reference

__all__ = ["check_reference", "dataset_names", "load_likelihood", "reference_of", "self_check"]


def reference_of(name: str) -> dict[str, Any]:
    """Return the published number a data set checks itself against: spectrum, nuisance, log_like."""
    return dict(description(name).get("reference", {}))


def self_check(name: str) -> float | None:
    """Compare a data set with its published number; see :func:`check_reference`."""
    return check_reference(load_likelihood(name), reference_of(name))
