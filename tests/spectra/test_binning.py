from __future__ import annotations

import numpy as np
import pytest

from cmbfit.errors import SpectrumError
from cmbfit.spectra.binning import Bins, dl_factor


def test_flat_dl_survives() -> None:
    bins = Bins((2, 5, 9, 14))
    np.testing.assert_allclose(bins.binning(20) @ bins.unbinning(20), np.eye(3), atol=1e-14)
    cl = 7 / np.maximum(dl_factor(20), 1e-30)
    np.testing.assert_allclose(bins.binning(20) @ cl, 7)
    np.testing.assert_allclose(bins.mean(np.arange(21.0)), bins.centres)


def test_padding() -> None:
    bins = Bins((2, 5, 9, 14, 20)).padded(95)
    assert bins.edges[:5] == (2, 5, 9, 14, 20)
    assert bins.lmax == 95
    assert set(np.diff(bins.edges[4:])) <= {5, 6, 7}
    assert Bins((2, 96)).padded(95).edges == (2, 96)


@pytest.mark.parametrize("edges", [(0, 5), (1, 5), (5, 5), (9, 5), (2,), ()])
def test_bad_edges(edges) -> None:
    with pytest.raises(SpectrumError, match="increasing integers from 2"):
        Bins(edges)


def test_too_short() -> None:
    with pytest.raises(SpectrumError, match="reach l = 8"):
        Bins((2, 9)).binning(7)
    with pytest.raises(SpectrumError, match="beyond lmax"):
        Bins((2, 9)).padded(7)
