"""Emulators: design, training sets, fit, accuracy, bundles."""
