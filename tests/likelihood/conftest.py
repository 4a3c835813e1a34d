from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.theory.spectra import Spectra


@pytest.fixture(scope="session")
def fixed(fixed_spectrum: Path) -> Spectra:
    """The published test spectrum, read by numpy and not by cmbfit's own reader."""
    table = np.loadtxt(fixed_spectrum)
    assert table[0, 0] == 2
    columns = (torch.from_numpy(np.concatenate([[0, 0], table[:, i]]))[None] for i in (1, 2, 3))
    return Spectra(dict(zip(("tt", "te", "ee"), columns, strict=True)))
