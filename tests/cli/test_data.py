"""``cmbfit data`` through typer's runner."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmbfit import data
from cmbfit.cli.data import app
from cmbfit.errors import ChecksumError, ConfigError, DataError, LikelihoodError

FIRAS = "firas/firas_monopole_spec_v1.txt"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let no test see or touch the developer's data directories."""
    for name in ("CMBFIT_DATA", "CMBFIT_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("CMBFIT_CACHE", str(folder))
    monkeypatch.setenv("CMBFIT_LOCK", str(tmp_path / "user" / "lock.yaml"))
    return folder


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_list_states() -> None:
    table = run("list")
    assert len([line for line in table.splitlines() if not line.startswith("#")]) == len(data.load_registry())
    rows = {line.split()[0]: line.split()[1:3] for line in table.splitlines() if not line.startswith("#")}
    assert rows[FIRAS] == ["2388", "embedded"]
    assert rows["bkp2015/BKPlanck.paramnames"] == ["642", "remote"]
    assert rows["wmap9/maps/wmap_band_iqumap_r9_9yr_V_v5.fits"] == ["?", "unpinned"]
    data.fetch(FIRAS)
    assert "cached" in run("list", "--group", "firas")


def test_list_of_an_unknown_group() -> None:
    with pytest.raises(DataError, match="no such group"):
        run("list", "--group", "fira")


def test_fetch_prints_paths(own_cache: Path) -> None:
    out = run("fetch", "firas", FIRAS, "--offline").split()
    assert out == [str(own_cache / FIRAS)]


def test_fetch_all_embedded(own_cache: Path) -> None:
    out = run("fetch", "--all-embedded").split()
    assert len(out) == sum(e.embedded is not None for e in data.load_registry().values())
    assert all(Path(p).is_file() for p in out)


def test_fetch_needs_names() -> None:
    with pytest.raises(ConfigError, match="--all-embedded"):
        run("fetch")


def test_verify(own_cache: Path) -> None:
    assert "copies are right" in run("verify")
    path = data.fetch(FIRAS)
    path.write_bytes(b"else")
    assert "bad" in run("verify", code=1)
    assert "absent" in run("verify", "bkp2015/BKPlanck.paramnames", code=1)


def test_pin_and_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "wmap9/beams/wmap_ampl_bl_V1_9yr_v5p1.txt"
    file = tmp_path / "wmap_ampl_bl_V1_9yr_v5p1.txt"
    file.write_text("0 1.0\n")
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(run("pin", name, str(file)))
    monkeypatch.setenv("CMBFIT_REGISTRY", str(overlay))
    monkeypatch.setenv("CMBFIT_DATA", str(tmp_path))
    assert run("fetch", name).split() == [str(file)]


def test_pin_checks_what_is_known(tmp_path: Path) -> None:
    file = tmp_path / "f.fits"
    with pytest.raises(DataError, match="no such file"):
        run("pin", FIRAS, str(file))
    file.write_bytes(b"else")
    for name in (FIRAS, "planck_pr3/beams/LFI_RIMO_R3.31.fits"):
        with pytest.raises(ChecksumError, match="expected"):
            run("pin", name, str(file))


def test_sets_lists_every_data_set_and_reads_none(own_cache: Path) -> None:
    rows = {line.split()[0]: line for line in run("sets").splitlines()}
    # ranges as Planck Collaboration V 2020 and Louis et al. 2025 (P-ACT's other half) have them
    assert "tt 30-2508, te 30-1996, ee 30-1996" in rows["planck2018_plik_lite_ttteee"]
    assert "A_act 1 +- 0.003, P_act 0.9 to 1.1" in rows["act_dr6_cmb_only"]
    assert rows["p_act"].endswith("planck2018_lowl_ee + act_dr6_cmb_only")
    assert not [p for p in own_cache.rglob("*") if p.is_file()]


def test_sets_describes_one(own_cache: Path) -> None:
    told = run("sets", "planck2018_plik_lite_ttteee")
    assert "613 values" in told  # 215 + 199 + 199, Planck Collaboration V 2020, section 2.3.1
    assert "A&A 641, A5" in told
    assert "cmbfit data fetch spt3g_d1_lite" in run("sets", "spt3g_d1_lite")
    assert "'cuts': {'tt': [30, 1000]" in run("sets", "p_act")
    with pytest.raises(LikelihoodError, match="did you mean 'planck2018'"):
        run("sets", "planck2019")
