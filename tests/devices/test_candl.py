"""Every step of a candl definition moves wholly: calibrations, foregrounds, covariances that follow the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cmbfit.theory.spectra import Spectra
from tests.likelihood import candl_toy as toy
from tests.likelihood.test_candl_steps import CASES, case, folders, spectra  # noqa: F401 (a fixture)

FIRST = ("all", "moving", "template, amplitude, response", "GalacticDustDecorrelationBandPass")
"""Between them every sort of step."""


@pytest.mark.parametrize(
    "name", [n if n in FIRST else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
)
def test_a_definition_moves(moves: Callable[..., None], folders: Path, name: str) -> None:  # noqa: F811
    def log_prob(like: Any, x: torch.Tensor) -> torch.Tensor:
        dl = {p: v.to(x.device) * x[:, None] for p, v in spectra(len(x)).dl.items()}
        return like.log_prob(Spectra(dl), {n: toy.POINT[n] * x for n in like.info.nuisance})

    moves(case(folders, name), log_prob, torch.tensor([1.0, 1.01], dtype=torch.float64))
