"""Transfer functions as matrices: any primordial spectrum to unlensed spectra, at and around a fit."""

TENSORS = "tensors"
"""Folder within an expansion's that holds the operator of tensors at its centre."""
