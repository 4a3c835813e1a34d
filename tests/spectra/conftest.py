from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from cmbfit.data import fetch
from cmbfit.sky import Mask, StokesMap, read_mask, read_stokes
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.estimate import cl_from_dl
from cmbfit.spectra.fields import Field
from cmbfit.spectra.multi import Plan, make_plan
from tests.spectra.fields_simulation import FieldSky, make_fields, simulate
from tests.spectra.simulation import EDGES, LMAX, input_dl

WMAP_MAP = "wmap7/wmap_band_iqumap_r9_7yr_{}_v4_udgraded32.fits"
WMAP_MASK = "wmap7/wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits"


@pytest.fixture(scope="session")
def wmap_mask() -> Mask:
    return read_mask(fetch(WMAP_MASK), name="kq85", coord="G")


@pytest.fixture(scope="session")
def wmap_maps() -> dict[str, StokesMap]:
    return {b: read_stokes(fetch(WMAP_MAP.format(b)), name=b, unit="mK", coord="G") for b in "VW"}


@dataclass
class MonteCarlo:
    """Skies of two fields with two splits each, and what is predicted for them."""

    dl: dict[str, np.ndarray]
    fields: list[Field]
    plan: Plan
    theory: np.ndarray  # (entries, bins)
    covariance: np.ndarray

    @cached_property
    def found(self) -> np.ndarray:
        """600 skies, shape (skies, entries, bins); for slow tests."""
        return simulate(FieldSky(self.dl, self.fields), self.plan, np.random.default_rng(404), 600)

    @cached_property
    def few(self) -> np.ndarray:
        """60 skies."""
        return simulate(FieldSky(self.dl, self.fields), self.plan, np.random.default_rng(405), 60)


@pytest.fixture(scope="session")
def two_fields() -> MonteCarlo:
    dl, fields = input_dl(parity=True), make_fields()
    plan = make_plan(fields, Bins(EDGES))
    matrix = multi_covariance(plan, fields, cl_from_dl(dl, LMAX))
    return MonteCarlo(dl, fields, plan, plan.theory(dl), matrix)
