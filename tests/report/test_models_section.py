"""Sections of the page on compared models, data sets against each other and predictive checks."""

from __future__ import annotations

import copy
import html
import re
from typing import Any

from cmbfit.report.page import render

from .example import SUMMARY


def model(name: str, title: str, **change: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "n_parameters": 7,
        "extra_parameters": [],
        "fixed": {},
        "priors": {"ns": {"uniform": [0.88, 1.06]}},
        "delta_chi2": {"total": 0.0},
        "delta_aic": 0.0,
        "delta_bic": 0.0,
        "savage_dickey": None,
        "evidence": None,
        "look_elsewhere": None,
        "theory_difference": None,
        "constraints": {},
        "remarks": [],
    } | change


TABLE = {
    "reference": "lcdm",
    "n_data": 615,
    "data": [{"name": "plik", "title": "Planck <2018>", "n_data": 615}],
    "models": [
        model("lcdm", "LCDM", evidence={"log_z": -512.37, "log_z_error": 0.02, "method": "x"}),
        model(
            "cutoff",
            "cut-off",
            n_parameters=8,
            extra_parameters=["ln_kc"],
            priors={"ns": {"uniform": [0.88, 1.06]}, "ln_kc": {"uniform": [-12.0, -3.0]}},
            delta_chi2={"total": -2.34},
            delta_aic=-0.34,
            delta_bic=4.08,
            savage_dickey={"ln_b": -0.31, "error": 0.02},
            evidence={"why_not": "far from one peak", "log_z": None, "log_z_error": None, "method": "x"},
            look_elsewhere={"p_value": 0.42, "sigma": 0.2},
            theory_difference=0.013,
            constraints={"ln_kc": {"text": "< -7.6 (95%)"}},
            remarks=["the bispectrum excludes more"],
        ),
    ],
}
TENSION = {
    "titles": {"a": "Planck", "b": "ACT", "both": "Planck + ACT"},
    "parameters": {},
    "shift": {"chi2": 7.43, "dof": 5, "p_value": 0.191, "sigma": 1.3, "verdict": "agreement"},
    "suspiciousness": {
        "ln_s": -1.25,
        "chi2": 7.42,
        "dof": 4.92,
        "p_value": 0.185,
        "sigma": 1.3,
        "verdict": "agreement",
    },
    "published": "a paper",
}
PREDICTIVE = {
    "fit": "lcdm",
    "title": "LCDM",
    "left_out": ["planck2018_lowl_ee"],
    "tests": [
        {"data_set": "plik", "part": "te+ee | tt", "n_data": 398, "chi2_mean": 379.5, "chi2_std": 3.0, "p_value": 0.739,
         "flagged": False},
        {"data_set": "bins", "part": "all", "n_data": 2, "chi2_mean": 40.0, "chi2_std": 3.0, "p_value": 0.001, "flagged": True},
    ],
}  # fmt: skip


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_sections_show_what_the_products_say() -> None:
    summary = copy.deepcopy(SUMMARY) | {
        "products": {
            "models": {"tables": [TABLE]},
            "tension": {"pairs": {"x": TENSION}},
            "predictive": {"fits": [PREDICTIVE]},
        }
    }
    page = render(summary, [], [])
    text = text_of(page)
    for words in (
        "Models compared", "Data: Planck <2018> (615 bandpowers)", "0 (reference)", "ln_kc < -7.6 (95%)", "ln_kc in [-12, -3]",
        "-2.34", "+4.08", "-0.31 ± 0.02", "0.42 (0.2σ)", "the bispectrum excludes more",
        "no evidence: far from one peak", "by its theory code +0.01",
        "Data sets against each other", "Planck and ACT 7.43 0.191 1.3 -1.25 4.92 0.185 1.3 agreement a paper",
        "Posterior predictive checks", "te+ee | tt 398 379.5 ± 3.0 0.739", "40.0 ± 3.0 0.001 flagged",
        "no replicas of planck2018_lowl_ee",
    ):  # fmt: skip
        assert words in text, words


def test_a_run_without_them_has_no_such_sections() -> None:
    text = text_of(render(SUMMARY, [], []))
    assert "Models compared" not in text
    assert "Posterior predictive" not in text


def test_free_form_spectra_show_each_number_of_knots_with_its_priors() -> None:
    rows = [
        {"title": "power law <2>", "knots": 2, "log_z": -507.39, "log_z_error": 0.01, "ln_b": 0.0, "ln_b_error": 0.0, "probability": 0.81, "method": "m"},
        {"title": "4 knots", "knots": 4, "log_z": -508.86, "log_z_error": 0.1, "ln_b": -1.47, "ln_b_error": 0.1, "probability": 0.19, "method": "m"},
        {"title": "8 knots", "knots": 8, "log_z": None, "log_z_error": None, "method": "m", "why_not": "no mixture"},
    ]  # fmt: skip
    summary = copy.deepcopy(SUMMARY)
    group = {"title": "planck2018", "priors": "ln(P/P_0) uniform", "models": rows}
    summary.setdefault("products", {})["freeform"] = {"groups": [group]}
    page = render(summary, [], [])
    text = text_of(page)
    assert "power law <2> 2 \u2212507.39 ± 0.01 +0.00 ± 0.00 0.81 m" in text
    assert "\u22121.47 ± 0.10 0.19" in text
    assert "none: no mixture" in text
    assert "Every ln B depends on the priors: ln(P/P_0) uniform" in text
    assert "freeform" not in render(SUMMARY, [], [])
