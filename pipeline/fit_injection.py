from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from cmbfit.checkpoint import discard, require_made_of
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.hawking.injection_runs import InjectionDesign, read_runs
from cmbfit.theory.hawking.response import fit_response, write_responses

log = logging.getLogger(__name__)


def fit_injection(
    *,
    runs: list[Path],
    base: str,
    output: Path,
    checkpoints: list[Path] | None = None,
    components: int = 3,
) -> None:
    """Learn the response to evaporating primordial black holes from Boltzmann runs, with its measured error.

    Parameters
    ----------
    runs
        Boltzmann runs (compute_injection).
    base
        Name of an emulator with bb that the effects are put on.
    output
        Where the responses go (NPZ).
    checkpoints
        Folders of the runs' checkpoints, which have served when the responses are there.
    components
        Below and above l = 40 each.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    computed = read_runs(runs)
    require_made_of(runs[0], computed.settings, {"design": InjectionDesign().settings()})
    theory, responses = load_emulator(base), []
    for mass in np.unique(computed.mass).tolist():
        responses.append(fit_response(computed, theory, mass, components))
        errors = ", ".join(f"{k} {v:.3g}" for k, v in responses[-1].error.items())
        log.info("%g g, left-out 99%% errors: %s", mass, errors)
    write_responses(output, responses, {**computed.settings, "components": components})
    discard(*checkpoints or [])
