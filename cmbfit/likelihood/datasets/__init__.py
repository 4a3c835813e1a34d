"""The data sets: one folder each with a ``dataset.yaml``; :func:`load_likelihood` makes them callable."""

from cmbfit.likelihood.datasets.load import dataset_names, load_likelihood, reference_of

__all__ = ["dataset_names", "load_likelihood", "reference_of"]
