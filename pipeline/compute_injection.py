from __future__ import annotations

from pathlib import Path

from cmbfit.io import read_json
from cmbfit.theory.hawking.injection_runs import InjectionDesign, write_runs
from cmbfit.theory.hawking.injection_runs import compute_injection as compute


def compute_injection(*, cosmology: int, output: Path, design: Path | None = None) -> None:
    """Run CLASS at one cosmology with evaporating primordial black holes of several masses and fractions.

    Parameters
    ----------
    cosmology
        Number of the cosmology.
    output
        Where the runs go (NPZ).
    design
        Entries of InjectionDesign, as JSON.
    """
    wanted = read_json(design) if design else {}
    write_runs(output, compute(InjectionDesign(**wanted), cosmology))
