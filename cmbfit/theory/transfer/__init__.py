"""Transfer functions as matrices: any primordial spectrum to unlensed spectra, at and around a fit."""
