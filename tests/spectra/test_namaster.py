"""NaMaster beside ours where it is installed: equal bandpowers, and whose covariance is the exact one."""

from __future__ import annotations

import numpy as np
import pytest

from cmbfit.sky import StokesMap
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.coupling import coupling
from cmbfit.spectra.master import Transfer, couple, prepare
from cmbfit.spectra.transforms import mask_spectrum, masked_alms, pseudo_spectra
from tests.spectra import exact
from tests.spectra.test_exact import BINS, FALLING, LMAX, NPIX, binned, cap, field

nmt = pytest.importorskip("pymaster", reason="NaMaster needs a compiler and Debian's libraries")
ONE = Transfer(np.ones(LMAX + 1), np.ones(LMAX + 1))
SETTINGS = {"lmax": LMAX, "lmax_mask": 2 * LMAX, "n_iter": 0, "n_iter_mask": 0}


def test_bandpowers() -> None:
    """The same estimator: equal to rounding."""
    mask, bins = cap(60, 24, "C1"), Bins((2, 8, 15, 22, 29))
    sky = StokesMap(*np.random.default_rng(1).standard_normal((3, NPIX)), coord="G")
    master, alms = prepare(mask, bins, ONE, ONE, LMAX), masked_alms(sky, mask, LMAX)
    found = master.decouple(pseudo_spectra(alms, alms))
    edges = np.array(bins.edges)
    b = nmt.NmtBin.from_edges(edges[:-1], edges[1:], is_Dell=True)
    maps = {"t": [sky.i], "p": [sky.q, sky.u]}
    fields = {k: nmt.NmtField(mask.weights, x, **SETTINGS) for k, x in maps.items()}
    for one, two, names in (
        ("t", "t", ("tt",)),
        ("t", "p", ("te", "tb")),
        ("p", "p", ("ee", "eb", "be", "bb")),
    ):
        space = nmt.NmtWorkspace.from_fields(fields[one], fields[two], b)
        theirs = space.decouple_cell(nmt.compute_coupled_cell(fields[one], fields[two]))
        for name, values in zip(names, theirs, strict=True):
            np.testing.assert_allclose(
                values, found[name], atol=1e-10 * np.abs(found[name]).max(), err_msg=name
            )


def test_whose_covariance_is_exact() -> None:
    """A cap of 60 degrees, B/E = 0.1: NaMaster 3.0.1 has X-- with -2 in Cov(EE, BB) and +1 in Cov(EB, EB)."""
    mask = cap(60, 24, "C1")
    e = exact.Exact.of(mask, LMAX)
    cl = {"tt": 10 * FALLING, "ee": FALLING, "bb": 0.1 * FALLING}
    g = e.correlation(e, cl)
    f = nmt.NmtField(mask.weights, [np.zeros(NPIX)] * 2, spin=2, **SETTINGS)
    ell = np.arange(LMAX + 1)
    space = nmt.NmtWorkspace.from_fields(f, f, nmt.NmtBin.from_edges(ell, ell + 1))
    coupled = couple(cl, coupling(mask_spectrum(mask, 2 * LMAX), LMAX), ONE, ONE)
    zero = np.zeros(LMAX + 1)
    inputs = [[coupled["ee"] / mask.moment(2), zero, zero, coupled["bb"] / mask.moment(2)]] * 4
    theirs = nmt.gaussian_covariance(
        nmt.NmtCovarianceWorkspace.from_fields(f, f, f, f), 2, 2, 2, 2, *inputs, space, coupled=True
    ).reshape(LMAX + 1, 4, LMAX + 1, 4)
    order = ("ee", "eb", "be", "bb")
    for name, wanted in (("eeee", 0.93), ("bbbb", 1.18), ("ebeb", 2.6), ("eebb", -3.7)):
        ours, truth = binned(field(mask), cl, g, name)
        block = BINS @ theirs[:, order.index(name[:2]), :, order.index(name[2:])] @ BINS.T
        assert (np.diag(ours) / np.diag(truth)).mean() == pytest.approx(1, abs=0.08), name
        # not a test of ours: should NaMaster change, this page of docs/methods/spectra.md must, too
        assert (np.diag(block) / np.diag(truth)).mean() == pytest.approx(wanted, rel=0.05), name
