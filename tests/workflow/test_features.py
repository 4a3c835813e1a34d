"""Search for features, rotation, FIRAS and squeezed states in the graph: there when asked for, refused without their inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from snakemake.exceptions import WorkflowError

from .graph import graph_of

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


def test_sections_add_their_rules(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**SECTIONS, "theory": {"transfer": {"parts": 2}}}))
    count = graph_of(tmp_path, [path]).count()
    rules = (
        "search_features",
        "plot_features",
        "fit_rotation",
        "plot_rotation",
        "fit_blackbody",
        "plot_states",
    )
    for rule in (*rules, "join_transfer"):
        assert count[rule] == 1, rule


def test_a_search_without_transfer_functions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(SECTIONS))
    with pytest.raises(WorkflowError, match=r"theory\.transfer"):
        graph_of(tmp_path, [path])
