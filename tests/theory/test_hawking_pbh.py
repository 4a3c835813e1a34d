"""Energy injection by evaporating holes, in CLASS."""

from __future__ import annotations

import numpy as np
import pytest

from cmbfit.errors import ParameterError
from cmbfit.theory.hawking.pbh import evaporation_spectra


@pytest.mark.slow
def test_evaporation_ionises_the_gas() -> None:
    pytest.importorskip("classy", reason="CLASS is optional (extra: class)")
    base = evaporation_spectra(1e15, 0.0)
    holes = evaporation_spectra(1e15, 1e-7)
    # an independent script on classy 3.4.1
    assert (base.tau, holes.tau) == (pytest.approx(0.05440, abs=1e-4), pytest.approx(0.05843, abs=1e-4))
    ionised = [float(np.interp(30.0, r.z, r.ionised)) for r in (base, holes)]
    assert ionised == pytest.approx([2.216e-4, 1.782e-3], rel=0.01)

    def change(pair: str, low: int, high: int) -> float:
        return 100 * float(np.mean(holes.dl[pair][low:high] / base.dl[pair][low:high] - 1))

    effects = [change("tt", 2, 30), change("tt", 800, 1200), change("ee", 2, 10), change("ee", 10, 30)]
    assert effects == pytest.approx([-0.319, -0.588, 6.83, 7.05], rel=5e-3)
    # only fraction times efficiency counts
    same = evaporation_spectra(1e15, 1e-6, efficiency=0.1, lmax=100)
    assert same.tau == pytest.approx(holes.tau, abs=1e-6)


def test_out_of_range() -> None:
    with pytest.raises(ParameterError, match="PBH mass"):
        evaporation_spectra(1e20, 1e-3)
    with pytest.raises(ParameterError, match="fraction"):
        evaporation_spectra(1e15, 2.0)
