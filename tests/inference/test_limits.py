"""Upper limits against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from cmbfit.errors import ParameterError
from cmbfit.inference.limits import upper_limit


def test_half_gaussian() -> None:
    # likelihood exp(-f^2/2): flat prior gives the half-normal's quantile 1.95996
    f = np.abs(np.random.default_rng(1).standard_normal(200_000))
    limit = upper_limit(f[f < 8], 8.0, n_effective=200_000)
    expected = float(stats.halfnorm.ppf(0.95))
    assert limit.flat == pytest.approx(expected, abs=4 * limit.flat_error)
    assert limit.flat_error == pytest.approx(0.0042, rel=0.1)  # sqrt(.95 .05 / n) / density(1.96) = .0042
    assert limit.informative
    # log-uniform on [a, 8]: integral of exp(-f^2/2) dlnf = E1(a^2/2)/2 - E1(F^2/2)/2
    a = limit.floor
    total = (special.exp1(a**2 / 2) - special.exp1(32.0)) / 2
    reached = (special.exp1(a**2 / 2) - special.exp1(limit.log_uniform**2 / 2)) / 2
    assert reached / total == pytest.approx(0.95, abs=2e-3)  # sixty bins of the density
    assert limit.log_uniform < limit.flat


def test_prior_makes_the_limit() -> None:
    limit = upper_limit(np.random.default_rng(2).uniform(0, 3, 5000), 3.0, n_effective=5000)
    assert not limit.informative
    assert limit.flat == pytest.approx(2.85, abs=0.03)


@pytest.mark.parametrize(
    ("samples", "words"),
    [(np.array([]), {}), (np.array([-0.1]), {}), (np.array([0.5]), {"probability": 1.5})],
)
def test_bad_input(samples: np.ndarray, words: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="upper limit"):
        upper_limit(samples, 1.0, n_effective=10, **words)
