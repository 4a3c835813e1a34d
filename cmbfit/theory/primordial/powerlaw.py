"""The power law."""

from __future__ import annotations

from cmbfit.theory.primordial.model import LOG_A, NS, PrimordialModel, power_law

MODEL = PrimordialModel(
    name="power_law",
    title="power law",
    formula="P = A_s (k/k*)^(n_s - 1)",
    parameters=(LOG_A, NS),
    citations=("Planck Collaboration VI (2020), A&A 641, A6; arXiv:1807.06209",),
    function=power_law,
    resolution=(20.0, 5.0),
)
