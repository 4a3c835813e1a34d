"""Shifts between fits: simulated data of which one fit sees a part, and what two fits share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cmbfit.inference.shifts import APART, NESTED, PARTLY, SAME, relation, shift_of


def posterior(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, used: slice) -> np.ndarray:
    """Draws from the posterior of a line's offset and slope, from data of unit errors and flat priors."""
    design = np.column_stack([np.ones_like(x), x])[used]
    cov = np.linalg.inv(design.T @ design)
    return rng.multivariate_normal(cov @ design.T @ y[used], cov, 20_000)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (NESTED, (slice(0, 60), slice(0, 20))),
        (NESTED, (slice(0, 20), slice(0, 60))),
        (APART, (slice(0, 30), slice(30, 60))),
    ],
)
def test_shifts_of_simulated_data_scatter_as_expected(
    rng: np.random.Generator, kind: str, parts: Any
) -> None:
    """200 data sets: shifts over their expected scatter have width 1 +- 4 / sqrt(400), and the joint chi2 a mean of 2 +- 4 * 2 / sqrt(200)."""
    x = rng.uniform(-1, 1, 60)
    pulls, chi2 = [], []
    for _ in range(200):
        y = rng.standard_normal(60)
        fits = [(("a", "b"), posterior(rng, x, y, part)) for part in parts]
        found = shift_of(kind, fits[0], fits[1], ["a", "b"])
        pulls.append([found.difference[p] / found.expected[p] for p in "ab"])
        chi2.append(found.chi2)
    assert np.std(pulls, axis=0) == pytest.approx(1, abs=0.2)
    assert np.mean(chi2) == pytest.approx(2, abs=0.57)


def test_the_same_data_give_no_expected_scatter(rng: np.random.Generator) -> None:
    one, two = rng.normal(0, 1, (5000, 1)), rng.normal(0.5, 1, (5000, 1))
    found = shift_of(SAME, (("a",), one), (("a", "c"), np.column_stack([two, two])), ["a"])
    assert found.difference == pytest.approx({"a": 0.5}, abs=0.1)
    assert found.expected == pytest.approx({"a": 1.0}, abs=0.05)
    assert found.chi2 is None


def test_what_more_data_do_not_improve_does_not_count(rng: np.random.Generator) -> None:
    """The whole knows a twice as well and b as well as the part: chi2 of a alone; draws of equal errors have none at all."""
    part, whole = rng.normal([1, 0], [1, 1], (9000, 2)), rng.normal([0, 3], [0.5, 1], (9000, 2))
    found = shift_of(NESTED, (("a", "b"), part), (("a", "b"), whole), ["a", "b"])
    assert found.directions == 1
    assert found.chi2 == pytest.approx(1 / 0.75, rel=0.1)
    equal = shift_of(NESTED, (("a", "b"), part), (("a", "b"), part + 0.1), ["a", "b"])
    assert (equal.chi2, equal.pte, equal.directions) == (None, None, 0)
    assert set(equal.record()["expected"].values()) == {None}


def sky(name: str, **pairs: tuple[int, int]) -> dict[str, Any]:
    return {
        "name": name,
        "sky": {name.split("_", maxsplit=1)[0]: {p: list(r) for p, r in pairs.items()}} if pairs else {},
    }


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ([sky("planck", tt=(2, 2500))], [sky("planck", tt=(2, 2500))], SAME),
        ([sky("planck", tt=(2, 2500)), sky("bao")], [sky("planck", tt=(2, 2500))], NESTED),
        ([sky("planck", tt=(2, 800))], [sky("planck", tt=(2, 2500), ee=(2, 2000))], NESTED),
        ([sky("planck", tt=(2, 800))], [sky("planck", tt=(801, 2500))], APART),
        ([sky("planck", tt=(2, 800))], [sky("act", tt=(2, 800))], APART),
        ([sky("planck_lite", tt=(2, 800))], [sky("planck_full", tt=(500, 2500))], PARTLY),
        ([sky("planck", tt=(2, 800)), sky("bao")], [sky("act", tt=(600, 4000)), sky("bao")], PARTLY),
    ],
)
def test_what_data_share(one: Any, two: Any, expected: str) -> None:
    assert relation(one, two) == expected
    assert relation(two, one) == expected
