"""Distances of galaxies and supernovae: likelihoods that need the expansion history alone, no spectra."""
