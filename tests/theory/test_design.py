"""The training design: every point once, evenly over the box."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from cmbfit.errors import ConfigError
from cmbfit.theory.emulator.design import LCDM_BOX, LCDM_FOCUS, Design
from cmbfit.theory.parameters import BACKGROUND, PRIMORDIAL

DESIGN = Design(n_backgrounds=64, draws=3, per_chunk=10)


def unit(design: Design) -> np.ndarray:
    """All points scaled to the unit cube, (n_backgrounds, 4 + 2 draws)."""
    background, primordial = design.backgrounds()
    low, high = np.array([design.box[n] for n in [*BACKGROUND, *PRIMORDIAL * design.draws]]).T
    return (np.column_stack([background, primordial.reshape(len(background), -1)]) - low) / (high - low)


def test_chunks_partition_the_design() -> None:
    background, primordial = DESIGN.backgrounds()
    parts = [DESIGN.chunk(i) for i in range(DESIGN.n_chunks)]
    assert [len(b) for b, _ in parts] == [10] * 6 + [4]
    np.testing.assert_array_equal(np.concatenate([b for b, _ in parts]), background)
    np.testing.assert_array_equal(np.concatenate([p for _, p in parts]), primordial)
    assert len(np.unique(background, axis=0)) == 64


@pytest.mark.parametrize("index", [-1, 7])
def test_chunks_beyond_the_design_are_refused(index: int) -> None:
    with pytest.raises(ConfigError, match=r"expected 0\.\.6"):
        DESIGN.chunk(index)


def test_each_coordinate_visits_every_stratum_once() -> None:
    """A scrambled Sobol sequence of 2^m points has one point in each interval of width 2^-m."""
    cells = np.floor(unit(DESIGN) * 64).astype(int)
    for column in cells.T:
        assert sorted(column) == list(range(64))


def test_discrepancy_is_below_that_of_random_points(rng: np.random.Generator) -> None:
    design = qmc.discrepancy(unit(DESIGN)[:, :4])
    random = [qmc.discrepancy(rng.uniform(size=(64, 4))) for _ in range(50)]
    assert design < min(random)


def test_points_lie_inside_the_box() -> None:
    points = unit(Design(n_backgrounds=100, draws=2))
    assert points.min() >= 0
    assert points.max() <= 1


def test_the_seed_and_nothing_else_moves_the_points() -> None:
    np.testing.assert_array_equal(unit(DESIGN), unit(Design(n_backgrounds=64, draws=3, per_chunk=7)))
    assert not np.array_equal(unit(DESIGN), unit(Design(n_backgrounds=64, draws=3, seed=2)))
    # a longer design starts with the shorter one: chunks on disk stay valid
    np.testing.assert_array_equal(unit(DESIGN), unit(Design(n_backgrounds=80, draws=3))[:64])


def test_the_focus_follows_the_box_and_lies_inside_its_own_ranges() -> None:
    design = Design(n_backgrounds=64, draws=3, per_chunk=10, n_focus=16)
    assert design.n_chunks == 8
    background, primordial = design.backgrounds()
    np.testing.assert_array_equal(background[:64], DESIGN.backgrounds()[0])
    last, draws = design.chunk(7)
    np.testing.assert_array_equal(last, background[70:])
    for values, names in ((background[64:], BACKGROUND), (primordial[64:].reshape(-1, 2), PRIMORDIAL)):
        low, high = np.array([LCDM_FOCUS[n] for n in names]).T
        assert (low <= values).all()
        assert (values <= high).all()
        # sixteen or more points spread over the whole focus
        assert (np.ptp(values, axis=0) > 0.85 * (high - low)).all()
    assert draws.shape == (10, 3, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_backgrounds": 0}, "n_backgrounds must be at least 1"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"box": {"ns": (0.9, 1.0)}}, "expected ranges for"),
        ({"box": LCDM_BOX | {"ns": (1.0, 0.9)}}, "ns: expected low < high"),
        ({"n_focus": -1}, "n_focus must not be negative"),
        ({"n_focus": 8, "focus": {"ns": (0.9, 1.0)}}, "focus: expected ranges for"),
        ({"n_focus": 8, "focus": LCDM_FOCUS | {"ns": (0.9, 1.1)}}, "ns: .* is no range inside the box"),
    ],
)
def test_malformed_designs_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Design(**change)
