"""Runs of another plan or of another centre are refused where they are joined, by naming what differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbfit.errors import DataError, ResumeError
from cmbfit.io import read_json, sha256_file, write_json
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.transfer.plan import ExpansionPlan, plan_from_config
from cmbfit.theory.transfer.store import write_arrays
from pipeline.join_transfer import join_transfer

EMULATOR = bundle_folder("lcdm_planck2018") / "manifest.json"


@pytest.fixture
def plan() -> ExpansionPlan:
    return plan_from_config({}, read_json(EMULATOR)["settings"]["trained_on"]["camb"])


def join(folder: Path, of_centre: dict[str, Any] | None, of_part: dict[str, Any]) -> None:
    write_json(folder / "plan.json", {})
    write_arrays(folder / "centre", {"k": np.ones(2)}, of_centre)
    part = {"centre_sha256": sha256_file(folder / "centre"), **of_part}
    write_arrays(folder / "part", {"0.ell": np.ones(2)}, part)
    join_transfer(
        plan=folder / "plan.json",
        emulator=EMULATOR,
        centre=folder / "centre",
        parts=[folder / "part"],
        output=folder / "joined" / "manifest.json",
        checkpoints=[],
    )


def test_parts_of_another_plan_or_centre_are_refused_by_name(tmp_path: Path, plan: ExpansionPlan) -> None:
    ours = plan.record()
    other = replace(plan, correction_l_sampling=2.0).record()
    with pytest.raises(
        ResumeError, match=r"part: made from other inputs.*corrections\.l_sampling \(2\.0 -> 3\.0\)"
    ):
        join(tmp_path, {**ours, "centre_sha256": None}, other)
    with pytest.raises(ResumeError, match=r"part: made from other inputs.*centre_sha256"):
        join(tmp_path, {**ours, "centre_sha256": None}, {**ours, "centre_sha256": "0" * 64})
    with pytest.raises(ResumeError, match=r"centre: made from other inputs.*l_sampling"):
        join(tmp_path, {**other, "centre_sha256": None}, ours)
    with pytest.raises(ResumeError, match="centre: made from other inputs"):
        join(tmp_path, None, ours)
    assert not (tmp_path / "joined").exists()


def test_parts_of_this_plan_pass_to_the_assembly(tmp_path: Path, plan: ExpansionPlan) -> None:
    ours = plan.record()
    with pytest.raises(DataError, match="the runs of points"):  # one point of many is there
        join(tmp_path, {**ours, "centre_sha256": None}, ours)
