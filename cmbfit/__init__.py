"""cmbfit: from CMB maps to the physics of the early universe in one command."""

__version__ = "0.1.0"
