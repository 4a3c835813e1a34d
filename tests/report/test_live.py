"""A run under way as its files say: a log that Snakemake 9 wrote, cut short where it was at the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import DataError
from cmbfit.figures.style import new_figure, save_figure
from cmbfit.report.live import MARK, fill_page, read_state, words

# of `snakemake --cores 2` 9.27, shortened
LOG = """Building DAG of jobs...
Job stats:
job                 count
----------------  -------
sample_posterior        2
total                  41

Select jobs to execute...
Execute 2 jobs...
[Mon Nov 30 15:00:23 2026]
localrule sample_posterior:
    output: results/mine/chains/a.ensemble1.h5
    log: results/mine/logs/sample_posterior/a.ensemble1.log
    jobid: 5
    wildcards: fit=a, ensemble=1
    resources: tmpdir=/tmp, gpu=0
[Mon Nov 30 15:00:23 2026]
localrule sample_posterior:
    output: results/mine/chains/a.ensemble0.h5
    log: results/mine/logs/sample_posterior/a.ensemble0.log
    jobid: 6
    wildcards: fit=a, ensemble=0
    resources: tmpdir=/tmp, gpu=0
"""
FINISHED = """[Mon Nov 30 15:01:22 2026]
Finished jobid: 5 (Rule: sample_posterior)
1 of 41 steps (2%) done
"""
SAYS = "1000 steps of about 1085, tau 21.7, 4719 effective samples, 4878 evaluations/s, about 2 s left"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "mine"
    logs = folder / "logs" / "sample_posterior"
    logs.mkdir(parents=True)
    (logs / "a.ensemble0.log").write_text(f"start\n2026-11-30 15:02:54,719 {SAYS}\n")
    write_log(tmp_path, LOG + FINISHED)
    return folder


def write_log(home: Path, text: str) -> None:
    (home / ".snakemake" / "log").mkdir(parents=True, exist_ok=True)
    (home / ".snakemake" / "log" / "2026-11-30T150000.0.snakemake.log").write_text(text)
    (home / ".snakemake" / "log" / "2026-11-30T160000.0.snakemake.log").write_text("of results/other/\n")


def test_what_runs_is_said_with_its_samplers_words(run: Path) -> None:
    state = read_state(run)
    assert (state.done, state.total, state.over) == (1, 41, False)
    assert words(run, state) == ["mine: 1 of 41 steps", f"  sample_posterior (fit=a, ensemble=0): {SAYS}"]


def test_before_the_first_step_all_are_ahead(run: Path) -> None:
    write_log(run.parent.parent, LOG)
    state = read_state(run)
    assert (state.done, state.total, len(state.running)) == (0, 41, 2)


def test_the_end_is_told_from_a_failure(run: Path) -> None:
    home = run.parent.parent
    write_log(
        home,
        LOG
        + FINISHED
        + "Error in rule sample_posterior:\n    message: None\n    jobid: 6\nError in rule gate:\n    jobid: 7\nElapsed time: 0:01:00\n",
    )
    result = CliRunner().invoke(app, ["watch", str(run)])
    assert result.exit_code == 1
    assert "mine: 1 of 41 steps; ended with errors in sample_posterior, gate" in result.stdout
    write_log(
        home,
        LOG
        + FINISHED
        + "Will exit after finishing currently running jobs (scheduler).\nElapsed time: 0:01:00\n",
    )
    result = CliRunner().invoke(app, ["watch", str(run)])
    assert result.exit_code == 1
    assert "mine: 1 of 41 steps; stopped before its end" in result.stdout
    write_log(home, LOG + FINISHED + "41 of 41 steps (100%) done\nElapsed time: 0:01:00\n")
    result = CliRunner().invoke(app, ["watch", str(run)])
    assert result.exit_code == 0
    assert "mine: 41 of 41 steps; finished" in result.stdout
    assert not (run / "report" / "index.html").exists()


def test_the_page_fills_and_gives_way_to_the_report(run: Path) -> None:
    index = run / "report" / "index.html"
    assert fill_page(run, read_state(run))
    assert "4719 effective samples" in index.read_text()
    assert "<figure>" not in index.read_text()
    fig = new_figure(2, 2)
    fig.subplots().plot([0, 1], [0, 1])
    save_figure(fig, run / "figures" / "corner_a", {"x": np.arange(2)})
    (run / "figures" / "half.png").write_bytes(b"\x89PNG")
    result = CliRunner().invoke(app, ["watch", str(run), "--once"])
    assert result.exit_code == 0
    assert MARK in index.read_text()
    assert index.read_text().count("<figure>") == 1
    index.write_text("a report")
    assert not fill_page(run, read_state(run))
    index.unlink()
    (run / "summary.json").write_text("{}")  # the report is about to be made
    assert not fill_page(run, read_state(run))
    assert not index.exists()


def test_a_folder_that_is_none_is_an_error_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder; name that of a run"):
        read_state(tmp_path / "nowhere")
    (tmp_path / "results" / "x").mkdir(parents=True)
    assert read_state(tmp_path / "results" / "x").total == 0
