"""Many maps of one survey: from prepared splits to all cross-spectra, their combination and null tests.

`products` reads and writes coefficients and the table of all cross-spectra, `fields` assembles the
fields of :mod:`cmbfit.spectra.multi` from them, `analysis` estimates, with the error that template
cleaning leaves, and `nulls` tests.
"""
