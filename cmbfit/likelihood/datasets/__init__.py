"""The data sets: one folder each with a ``dataset.yaml``; :func:`load_likelihood` makes them callable."""

from typing import TYPE_CHECKING

from cmbfit._lazy import lazy_names

if TYPE_CHECKING:
    from cmbfit.likelihood.datasets.catalog import dataset_names
    from cmbfit.likelihood.datasets.load import load_likelihood
    from cmbfit.likelihood.datasets.reference import check_reference, reference_of, self_check

__all__ = ["check_reference", "dataset_names", "load_likelihood", "reference_of", "self_check"]

__getattr__ = lazy_names(
    __name__,
    dict.fromkeys(("check_reference", "reference_of", "self_check"), "cmbfit.likelihood.datasets.reference")
    | {
        "dataset_names": "cmbfit.likelihood.datasets.catalog",
        "load_likelihood": "cmbfit.likelihood.datasets.load",
    },
)
