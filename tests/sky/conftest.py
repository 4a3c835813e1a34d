from __future__ import annotations

import pytest

from cmbfit.data import fetch
from cmbfit.sky import Mask, StokesMap, read_mask, read_stokes

WMAP_MAP = "wmap7/wmap_band_iqumap_r9_7yr_{}_v4_udgraded32.fits"
WMAP_MASK = "wmap7/wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits"


@pytest.fixture(scope="session")
def wmap_mask() -> Mask:
    return read_mask(fetch(WMAP_MASK), name="kq85", coord="G")


@pytest.fixture(scope="session")
def wmap_maps() -> dict[str, StokesMap]:
    return {b: read_stokes(fetch(WMAP_MAP.format(b)), name=b, unit="mK", coord="G") for b in "VW"}
