from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.io import read_json
from cmbfit.likelihood import load_likelihood
from cmbfit.report.checks import below, write_checks
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import CambSettings, CambTheory


def check_likelihood(*, reference: Path, output: Path) -> None:
    """Check the data sets against published chi2 at a fixed model, computed with CAMB.

    Parameters
    ----------
    reference
        JSON: the section of the configuration.
    output
        Where the checks go (JSON).
    """
    published = read_json(reference)
    theory = CambTheory(CambSettings(**published["camb"]))
    spectra = theory.spectra(point_from_values(theory, published["parameters"]))
    nuisance = {
        name: torch.tensor([value], dtype=torch.float64) for name, value in published["nuisance"].items()
    }
    checks = []
    for name, expected in published["chi2"].items():
        chi2 = -2 * load_likelihood(name).log_prob(spectra, nuisance).item()
        print(f"{name}: chi2 {chi2:.3f}, published {expected}")
        checks.append(
            below(
                f"{name}: chi2 - published, at a fixed model",
                chi2 - expected,
                published["tolerance"],
                f"chi2 {chi2:.3f}; {published['source']}",
            )
        )
    write_checks(output, checks)
