"""cmbfit stokes against simulated noise and the worked example."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import CmbfitError


def _answer(*words: str) -> dict[str, object]:
    got = CliRunner().invoke(app, ["stokes", *words, "--json"], catch_exceptions=False)
    assert got.exit_code == 0, got.output
    return json.loads(got.output)


def test_the_worked_example() -> None:
    """(Q, U) = (3.84e-6, 0) turned by 0.342 degrees; by hand: Q cos 2b, Q sin 2b."""
    got = _answer("--q", "3.84e-6", "--u", "0", "--rotate", "0.342")
    assert (got["p"], got["angle_deg"]) == (3.84e-6, 0.0)
    turned = got["rotated"]
    assert (turned["q"], turned["u"]) == pytest.approx((3.839726e-6, 4.584103e-8), rel=1e-6)
    assert "sigma_p" not in got


def test_iau_turns_the_other_way() -> None:
    """U_IAU = -U_COSMO, of the same light."""
    cosmo = _answer("--q", "1", "--u", "0.5", "--rotate", "10")["rotated"]
    iau = _answer("--q", "1", "--u", "-0.5", "--rotate", "10", "--polcconv", "IAU")["rotated"]
    assert (iau["q"], iau["u"]) == pytest.approx((cosmo["q"], -cosmo["u"]))


def test_errors_are_the_scatter_of_noisy_light(rng: np.random.Generator) -> None:
    """2e5 draws of unequal noise: scatter of P and of the angle to 2% (the next order, (sigma/P)^2), P's own bias to a tenth."""
    q, u, sigma = 6.0, 8.0, (0.5, 1.0)
    drawn = np.array([q, u])[:, None] + np.array(sigma)[:, None] * rng.standard_normal((2, 200_000))
    p, psi = np.hypot(*drawn), np.degrees(0.5 * np.arctan2(drawn[1], drawn[0]))
    got = _answer("--q", str(q), "--u", str(u), "--sigma-q", "0.5", "--sigma-u", "1.0")
    assert got["sigma_p"] == pytest.approx(p.std(), rel=0.02)
    assert got["sigma_angle_deg"] == pytest.approx(psi.std(), rel=0.02)
    assert got["low_signal"] is False
    bias = p.mean() - 10.0
    assert 10.0 - got["p_debiased"] == pytest.approx(bias, rel=0.1)


def test_what_is_not_known_is_said() -> None:
    got = CliRunner().invoke(app, ["stokes", "--q", "1", "--u", "1", "--sigma-q", "1"])
    assert "below four of its errors" in got.output
    assert "V is not known" in got.output
    zero = _answer("--q", "0", "--u", "0", "--sigma-q", "1")
    assert zero["sigma_p"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--q", "nan", "--u", "0"], "--q"),
        (["--q", "1", "--u", "0", "--sigma-u", "1"], "--sigma-q"),
        (["--q", "1", "--u", "0", "--sigma-q", "-1"], "at least 0"),
        (["--q", "1", "--u", "0", "--polcconv", "iau"], "IAU"),
        (["--q", "1", "--u", "1", "--i", "1"], "exceeded"),
    ],
)
def test_bad_input_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(CmbfitError, match=said):
        CliRunner().invoke(app, ["stokes", *words], catch_exceptions=False)
