"""The command line as a user meets it: numbers out, or one clear line and exit status 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbfit import __version__
from cmbfit.cli import app as cli
from cmbfit.theory import textfile

PLIK, PLIK_TT, LOWE = "planck2018_plik_lite_ttteee", "planck2018_plik_lite_tt", "planck2018_lowl_ee"
POINT = {"ombh2": 0.0224, "omch2": 0.12, "theta_mc": 1.041, "tau": 0.055, "logA": 3.045, "ns": 0.965}


def sets(**change: object) -> list[str]:
    return [word for k, v in (POINT | change).items() if v is not None for word in ("--set", f"{k}={v}")]


class Runner:
    """Calls the installed entry point in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["cmbfit", *map(str, words)])
        self.capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        out, err = self.capsys.readouterr()
        return code, out, err

    def json(self, *words: object) -> dict[str, Any]:
        code, out, err = self(*words)
        assert code == 0, err
        return json.loads(out, parse_constant=pytest.fail)

    def error(self, *words: object) -> str:
        """The one line of a typed error."""
        code, out, err = self(*words)
        assert code == 2, (code, out, err)
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        return line


@pytest.fixture
def cmbfit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch, capsys)


def test_fixed_spectrum_gives_the_published_likelihood(cmbfit: Runner, fixed_spectrum: Path) -> None:
    got = cmbfit.json("loglike", "--data", PLIK, "--spectrum", fixed_spectrum)
    # planck-lite-py, Cobaya
    assert got["log_like"] == pytest.approx(-291.33481235418026, abs=1e-8)
    assert got["chi2"] == pytest.approx(2 * 291.33481235418026, abs=1e-8)
    # the prior stands apart: a normal of width 0.0025 at its mean
    assert got["log_prior"] == pytest.approx(-np.log(0.0025 * np.sqrt(2 * np.pi)), rel=1e-12)
    two = cmbfit.json(
        "loglike", "--data", PLIK, "--data", "planck2018_lowl_tt_2bin", "--spectrum", fixed_spectrum
    )
    assert two["log_like"] == pytest.approx(-293.95586501795134, abs=1e-8)
    assert two["log_prior"] == got["log_prior"]  # one shared calibration


def test_nuisance_values_are_used(cmbfit: Runner, fixed_spectrum: Path) -> None:
    got = cmbfit.json("loglike", "--data", PLIK, "--spectrum", fixed_spectrum, "--nuisance", "A_planck=1.005")
    assert got["nuisance"] == {"A_planck": 1.005}
    assert got["log_prior"] == pytest.approx(-0.5 * 2**2 - np.log(0.0025 * np.sqrt(2 * np.pi)), rel=1e-9)
    assert abs(got["log_like"] + 291.33) > 1


def test_a_written_spectrum_gives_the_same_likelihood_as_its_parameters(
    cmbfit: Runner, tmp_path: Path
) -> None:
    path = tmp_path / "spectra.txt"
    code, out, err = cmbfit("theory", "--code", "emulator", *sets(), "-o", path)
    assert (code, out) == (0, "")
    assert str(path) in err
    lines = path.read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert header[-1] == "# ell tt te ee bb pp"
    assert lines[len(header)].split()[0] == "2"
    assert lines[-1].split()[0] == "2508"
    data = ["--data", PLIK, "--data", LOWE]
    by_file = cmbfit.json("loglike", *data, "--spectrum", path)
    by_name = cmbfit.json("loglike", *data, *sets())
    # seventeen digits are written
    assert by_file["log_like"] == pytest.approx(by_name["log_like"], rel=1e-12)


@pytest.mark.slow
def test_camb_and_emulator_write_the_same_spectra(cmbfit: Runner, tmp_path: Path) -> None:
    tables = {}
    for code in ("camb", "emulator"):
        path = tmp_path / f"{code}.txt"
        assert cmbfit("theory", "--code", code, *sets(), "--lmax", 2000, "-o", path)[0] == 0
        assert "# ell tt te ee bb pp" in path.read_text().splitlines()
        tables[code] = np.loadtxt(path)
    camb, emulator = tables["camb"], tables["emulator"]
    np.testing.assert_array_equal(camb[:, 0], np.arange(2, 2001))
    high = camb[:, 0] >= 30
    tt, te, ee = camb[high, 1:4].T
    modes = 2 * camb[high, 0] + 1
    for column, sigma in (
        (1, tt * np.sqrt(2 / modes)),
        (2, np.sqrt((tt * ee + te**2) / modes)),
        (3, ee * np.sqrt(2 / modes)),
        (4, camb[high, 4] * np.sqrt(2 / modes)),
    ):
        # a tenth of one multipole's cosmic variance is invisible to any fit
        assert np.abs((emulator[high, column] - camb[high, column]) / sigma).max() < 0.1
    assert (camb[:, 4] > 0).all()  # lensing's BB


def test_other_spellings_give_the_same_numbers(cmbfit: Runner) -> None:
    plain = cmbfit.json("loglike", "--data", PLIK_TT, *sets())
    other = cmbfit.json(
        "loglike", "--data", PLIK_TT,
        *sets(theta_mc=None, cosmomc_theta=0.01041, logA=None, As=float(1e-10 * np.exp(3.045)), mnu=0.06),
    )  # fmt: skip
    assert other["log_like"] == pytest.approx(plain["log_like"], rel=1e-9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "planck2018_plik_lite_tttee", *sets()], "did you mean 'planck2018_plik_lite_ttteee'"),
        (["--data", PLIK, "--data", PLIK_TT, *sets()], "count the same planck TT multipoles 30-2508"),
        (["--data", LOWE, "--data", LOWE, *sets()], "listed twice"),
        (["--data", PLIK, *sets(omb2=1)], "unknown parameter 'omb2'"),
        (["--data", PLIK, *sets(tau=0.5)], "tau = 0.5"),
        (["--data", PLIK, *sets(tau=None)], "missing parameter(s): tau"),
        (["--data", PLIK, *sets(ns="nan")], "'ns=nan'"),
        (["--data", PLIK, *sets(ns="inf")], "ns"),
        (["--data", PLIK, *sets(ns="high")], "'ns=high'"),
        (["--data", PLIK, *sets(), "--set", "ns"], "'ns'"),
        (["--data", PLIK, *sets(), "--set", "ns=0.96"], "ns is given twice"),
        (["--data", PLIK, *sets(), "--set", "n_s=0.96"], "'ns' is given twice"),
        (["--data", PLIK, *sets(H0=67)], "either H0 or theta_mc"),
        (["--data", PLIK, *sets(omk=0.01)], "omk"),
        (["--data", PLIK, *sets(), "--nuisance", "A_plank=1"], "did you mean 'A_planck'"),
        (["--data", PLIK, *sets(), "--nuisance", "A_planck=nan"], "'A_planck=nan'"),
        (["--data", PLIK, *sets(), "--nuisance", "A_planck=inf"], "'A_planck=inf'"),
        (["--data", PLIK, *sets(), "--nuisance", "A_planck=0"], "outside its range"),
        (["--data", PLIK, *sets(), "--nuisance", "A_planck=-1"], "outside its range"),
        (["--data", PLIK, *sets(), "--emulator", "lcdm_planck2108"], "did you mean 'lcdm_planck2018'"),
        (["--data", PLIK], "spectra are missing: give --spectrum FILE, or --set"),
        (["--data", PLIK, *sets(), "--spectrum", "x.txt"], "not both"),
        (["--data", PLIK, "--spectrum", "absent.txt"], "absent.txt: no such file"),
    ],
)
def test_bad_words_give_one_line(cmbfit: Runner, words: list[str], message: str) -> None:
    assert message in cmbfit.error("loglike", *words)


def test_data_sets_that_recommend_different_priors_are_refused_in_any_order(cmbfit: Runner) -> None:
    wide = f"{{{PLIK_TT}: {{priors: {{A_planck: {{gaussian: [1.0, 0.01]}}}}}}}}"
    for one, other in ((wide, LOWE), (LOWE, wide)):
        line = cmbfit.error("loglike", "--data", one, "--data", other, *sets())
        assert "recommend different priors for A_planck" in line


@pytest.mark.parametrize("door", [("fit",), ("compare",), ("bench", "likelihood"), ("run",), ("check",)])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("likelyhood: 3", "top level: unknown key 'likelyhood'"),
        ("fits: {lcdm_planck2018: {prior: {}}}", "fits.lcdm_planck2018: unknown key 'prior'"),
        ("theory: {emulator: {bundel: x}}", "theory.emulator: unknown key 'bundel'"),
    ],
)
def test_every_door_refuses_an_unknown_key_by_its_place(
    cmbfit: Runner, tmp_path: Path, door: tuple[str, ...], text: str, message: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    code, _, err = cmbfit(*door, tmp_path / "mine.yaml")
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: np.vstack([[[0, 0, 0, 0], [1, 0, 0, 0]], t]), "expected rows from l = 2"),
        (lambda t: t[:1999], "must reach l = 2508; they stop at l = 2000"),
        (lambda t: t[:, :2], "found 2 columns"),
        (lambda t: t[:, :3], "found 3 columns"),
        (lambda t: t[:, [0, 1, 3, 2]], "do not look like ell TT TE EE"),
        (lambda t: np.where(t == t[100, 2], np.nan, t), "not finite"),
        (lambda t: t[:0], "holds no numbers"),
    ],
)
def test_bad_spectra_give_one_line(
    cmbfit: Runner, fixed_spectrum: Path, tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "spectrum.txt"
    np.savetxt(path, change(np.loadtxt(fixed_spectrum)))
    line = cmbfit.error("loglike", "--data", PLIK, "--spectrum", path)
    assert message in line


def test_a_spectrum_without_a_needed_pair_is_refused(
    cmbfit: Runner, fixed_spectrum: Path, tmp_path: Path
) -> None:
    path = tmp_path / "spectrum.txt"
    np.savetxt(path, np.loadtxt(fixed_spectrum)[:, :2], header="ell tt")
    assert "needed but not given: te, ee" in cmbfit.error("loglike", "--data", PLIK, "--spectrum", path)
    assert cmbfit.json("loglike", "--data", PLIK_TT, "--spectrum", path)["log_like"] == pytest.approx(
        -101.58123068722583, abs=1e-8
    )


def test_ee_outside_the_table_is_refused(cmbfit: Runner, fixed_spectrum: Path, tmp_path: Path) -> None:
    table = np.loadtxt(fixed_spectrum)
    table[3, 3] = 0.5  # uK^2: the table ends at 0.3
    np.savetxt(tmp_path / "x.txt", table)
    assert "zero probability" in cmbfit.error("loglike", "--data", LOWE, "--spectrum", tmp_path / "x.txt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lmax", "1"], "--lmax: expected 2.."),
        (["--lmax", "9000"], "--lmax: expected 2.."),
        (["--set", "ns=0.9"], "given twice"),
    ],
)
def test_a_refused_theory_run_leaves_nothing(
    cmbfit: Runner, tmp_path: Path, words: list[str], message: str
) -> None:
    assert message in cmbfit.error("theory", *sets(), *words, "-o", tmp_path / "x.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    cmbfit: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.txt").write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(textfile.np, "savetxt", full)
    assert "No space left on device" in cmbfit.error("theory", *sets(), "-o", tmp_path / "x.txt")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.txt", "old")]


def test_an_output_that_cannot_be_a_file_gives_one_line(cmbfit: Runner, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for path, culprit in ((tmp_path / "folder", "folder"), (tmp_path / "file" / "x.txt", "file")):
        assert str(tmp_path / culprit) in cmbfit.error("theory", *sets(), "-o", path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


def test_help_and_version(cmbfit: Runner) -> None:
    code, out, _ = cmbfit("--help")
    assert code == 0
    for command in ("theory", "loglike", "data"):
        assert command in out
    assert cmbfit("--version")[1].strip() == __version__
    assert cmbfit("loglike")[0] == 2  # --data is required
    assert cmbfit("theery")[0] == 2


def test_as_a_process_an_error_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    words = ["loglike", "--data", PLIK, "--spectrum", str(tmp_path / "absent.txt")]
    code = "import sys; from cmbfit.cli.app import main; sys.argv[0] = 'cmbfit'; main()"
    got = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert got.returncode == 2
    assert got.stdout == ""
    assert got.stderr == f"error: {tmp_path / 'absent.txt'}: no such file\n"
