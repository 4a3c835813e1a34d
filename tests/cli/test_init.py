"""``cmbfit init``: what it writes is right, and it overwrites nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.config import load_config
from cmbfit.errors import WriteError

RUN = CliRunner()


@pytest.mark.parametrize(
    ("words", "data", "emulator"),
    [
        ([], ["planck2018"], "lcdm_planck2018"),
        (["--data", "p_act"], ["p_act"], "lcdm_high"),  # ACT's windows reach l = 6325
        (["--data", "spt3g_2018_lite", "--data", "tau_lowe"], ["spt3g_2018_lite", "tau_lowe"], "lcdm_high"),
        (["--primordial", "cutoff_kinetic"], ["planck2018"], "lcdm_planck2018"),
        (["--extension", "mnu"], ["planck2018"], "lcdm_planck2018"),
        (["--maps"], ["own_spectra", "tau_lowe"], "lcdm_planck2018"),
    ],
)
def test_what_it_writes_passes_the_check(
    words: list[str], data: list[str], emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RUN.invoke(app, ["init", "mine", *words], catch_exceptions=False).exit_code == 0
    checked = RUN.invoke(app, ["check", "mine.yaml"], catch_exceptions=False)
    assert checked.exit_code == 0, checked.stderr
    config = load_config(["mine.yaml"])
    (fit,) = config["run"]["fits"]
    assert config["fits"][fit]["data"] == data
    assert config["theory"]["emulator"]["bundle"] == emulator


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("mine\n")
    assert isinstance(RUN.invoke(app, ["init"]).exception, WriteError)
    assert Path("mine.yaml").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--extension", "r"], "no shipped emulator covers r"),
        (["--extension", "mnu", "--extension", "omk"], "covers mnu and omk together"),
        (["--extension", "mnu", "--primordial", "cutoff_kinetic"], "are two theories"),
        (["--extension", "Alans"], "did you mean 'Alens'"),
        (["--primordial", "cutof"], "--primordial: unknown primordial model 'cutof'"),
        (["--data", "planck2019"], "did you mean 'planck2018'"),
        (["a/b"], "expected a name of letters"),
        (["yes"], "expected a name of letters"),  # true to YAML
    ],
)
def test_what_cannot_run_is_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUN.invoke(app, ["init", *words])
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())
