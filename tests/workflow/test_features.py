"""Search for features, rotation, FIRAS and squeezed states in the graph: there when asked for, refused without their inputs."""

from __future__ import annotations

import re

import pytest
import yaml

from .conftest import Checkout

pytestmark = pytest.mark.workflow

SECTIONS = {
    "look_elsewhere": {
        "fit": "lcdm_planck2018",
        "data": ["planck2018_plik_lite_ttteee", "planck2018_lowl_tt_2bin", "tau_lowe"],
        "models": ["oscillation_log", "oscillation_linear"],
        "omega": [1, 126],
        "frequencies": 200,
        "amplitude_max": 0.5,
        "simulations": 20,
    },
    "birefringence": {"pairs": ["eb", "tb"], "calibration_deg": 1.5, "simulations": 20},
    "blackbody": {"amplitude_max": 1e-3},
    "quantum_states": {"squeezing": 1.0, "levels": 40},
}


def test_sections_add_their_rules(checkout: Checkout) -> None:
    path = checkout.root / "mine.yaml"
    path.write_text(yaml.safe_dump({**SECTIONS, "theory": {"transfer": {"parts": 2}}}))
    run = checkout.snakemake("--dry-run", config="mine.yaml")
    assert run.returncode == 0, run.stderr[-3000:]
    for rule in (
        "search_features",
        "plot_features",
        "fit_rotation",
        "plot_rotation",
        "fit_blackbody",
        "plot_states",
    ):
        assert re.search(rf"^{rule}\s+1$", run.stdout, re.MULTILINE), rule
    assert re.search(r"^join_transfer\s+1$", run.stdout, re.MULTILINE)


def test_a_search_without_transfer_functions_is_refused(checkout: Checkout) -> None:
    path = checkout.root / "mine.yaml"
    path.write_text(yaml.safe_dump(SECTIONS))
    run = checkout.snakemake("--dry-run", config="mine.yaml")
    assert run.returncode != 0
    assert "theory.transfer" in run.stderr + run.stdout
