"""Names and numbers of a configuration that must fit together: each mistake has its own message."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from cmbfit.errors import CmbfitError
from cmbfit.theory.emulator.design import LCDM_BOX
from pipeline.check_config import check_edges, check_fit

from .conftest import ROOT


def _fit() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "pipeline/config/default.yaml").read_text())["fits"]["lcdm_planck2018"]


def _with(changes: dict[str, Any], into: dict[str, Any] | None = None) -> dict[str, Any]:
    out = copy.deepcopy(_fit() if into is None else into)
    for key, value in changes.items():
        is_part = isinstance(value, dict) and not {"uniform", "gaussian"} & set(value)
        out[key] = _with(value, out.get(key, {})) if is_part else value
    return out


def test_the_shipped_fit_is_accepted() -> None:
    check_fit("shipped", _fit(), LCDM_BOX)
    check_edges([2, 5, 9])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data": ["planck2018_plik"]}, "planck2018_plik_lite_tt"),
        ({"priors": {"tau": {"uniform": [0.0, 0.9]}}}, "beyond the emulator"),
        ({"priors": {"ns": {"uniform": [1.0, 0.9]}}}, "low < high"),
        ({"priors": {"ombh": {"uniform": [0.0, 0.9]}}}, "'ombh2'"),
        ({"start": {"ns": [2.0, 0.1]}}, "inside the prior"),
        ({"start": {"ns": [0.96, 0.0]}}, "positive scale"),
        ({"start": {"nss": [0.96, 0.1]}}, "'nss'"),
        ({"show": ["foo"]}, "'foo'"),
        ({"reference": {"parameters": {"H00": [67.0, 1.0]}}}, "'H0'"),
        ({"reference": {"parameters": {"H0": [67.0, 0.0]}}}, "positive or null"),
        ({"sampler": {"walkers": 4}}, "7 parameters need 14"),
        ({"sampler": {"block_steps": 100000}}, "block_steps"),
    ],
)
def test_each_mistake_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(CmbfitError, match=named):
        check_fit("mine", _with(changes), LCDM_BOX)


def test_what_is_missing_is_named() -> None:
    fit = _fit()
    del fit["priors"]["tau"]
    with pytest.raises(CmbfitError, match=r"fits.mine.priors: nothing for tau"):
        check_fit("mine", fit, LCDM_BOX)
    fit = _fit()
    del fit["start"]["A_planck"]
    with pytest.raises(CmbfitError, match=r"fits.mine.start: nothing for A_planck"):
        check_fit("mine", fit, LCDM_BOX)


def test_falling_edges_are_refused() -> None:
    with pytest.raises(CmbfitError, match="rising"):
        check_edges([2, 5, 4])
