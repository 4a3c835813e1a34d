from __future__ import annotations

import io

import numpy as np
import pytest

from cmbfit.data import read_bytes
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


def test_mode_weighting() -> None:
    """Each C_l counts as its 2 l + 1 modes, and a flat D_l still comes back."""
    bins = Bins((2, 5, 9, 14), "cl")
    matrix = bins.binning(20)
    np.testing.assert_allclose(matrix @ bins.unbinning(20), np.eye(3), atol=1e-14)
    inside = matrix[1, 5:9]
    np.testing.assert_allclose(inside / inside[0], np.array([11, 13, 15, 17]) / 11)
    assert bins.padded(20).weighting == "cl"
    with pytest.raises(SpectrumError, match="weighting 'x'"):
        Bins((2, 5), "x")


def test_linear() -> None:
    assert Bins.linear(2, 20, 6).edges == (2, 8, 14, 20)
    assert Bins.linear(2, 19, 6).lmax == 19
    with pytest.raises(SpectrumError, match="no full bin"):
        Bins.linear(2, 5, 6)


def test_planck_bins_are_those_of_the_published_likelihood() -> None:
    def column(name: str) -> np.ndarray:
        return np.loadtxt(io.BytesIO(read_bytes(name))).astype(int)

    first, last = (column(f"planck2018_plik_lite/{f}.dat")[:215] for f in ("blmin", "blmax"))
    bins = Bins.planck(low=False)
    assert bins.edges[:-1] == tuple(first + 30)
    assert bins.edges[1:] == tuple(last + 31)
    low = [column(f"planck2018_low_ell/{f}_low_ell.dat") for f in ("blmin", "blmax")]
    assert Bins.planck().edges[:3] == (*(low[0] + 2), low[1][-1] + 3)
    assert Bins.planck(1000).lmax == 999
    # Planck's weights on C_l, l (l + 1) normalised in the bin, are ours on D_l
    weights = np.loadtxt(io.BytesIO(read_bytes("planck2018_plik_lite/bweight.dat")))
    inside = bins.binning(2508)[100]
    ell = np.flatnonzero(inside)
    np.testing.assert_allclose(inside[ell] / inside[ell].sum(), weights[ell - 30], rtol=1e-5)
    with pytest.raises(SpectrumError, match="no full bin"):
        Bins.planck(3)
