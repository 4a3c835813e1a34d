from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record, write_json
from cmbfit.theory.quantum.tables import state_tables
from pipeline.record import recorded


def simulate_states(*, output: Path, squeezing: float = 1.2, levels: int = 60) -> None:
    """Compute number, entropy and spectrum of squeezed pairs (a classical simulation).

    Parameters
    ----------
    output
        Where the record goes (JSON).
    squeezing
        Largest squeezing parameter r.
    levels
        States of the truncated Fock space, each mode.
    """
    given = recorded(locals())
    write_json(output, state_tables(squeezing, levels))
    publish_record(output, inputs=[], settings=given)
