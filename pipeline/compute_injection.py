from __future__ import annotations

from pathlib import Path

from cmbfit.checkpoint import own_checkpoint
from cmbfit.io import read_json
from cmbfit.theory.hawking.injection_runs import InjectionDesign, run_settings, write_runs
from cmbfit.theory.hawking.injection_runs import compute_injection as compute


def compute_injection(
    *, cosmology: int, output: Path, code: str, checkpoint: Path, design: Path | None = None
) -> None:
    """Run CLASS at one cosmology with evaporating primordial black holes of several masses and fractions.

    It resumes from its checkpoint.

    Parameters
    ----------
    cosmology
        Number of the cosmology.
    output
        Where the runs go (NPZ).
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints; fit_injection removes it.
    design
        Entries of InjectionDesign, as JSON.
    """
    spec = read_json(design) if design else {}
    if "max_fractions" in spec:  # a name in JSON is text
        spec["max_fractions"] = {float(mass): x for mass, x in spec["max_fractions"].items()}
    wanted = InjectionDesign(**spec)
    identity = {**run_settings(wanted), "cosmology": cosmology, "code": code}
    write_runs(output, compute(wanted, cosmology, store=own_checkpoint(checkpoint, identity)))
