"""Rotation of the plane of polarisation: spectra, bandpowers of a survey, several channels."""
