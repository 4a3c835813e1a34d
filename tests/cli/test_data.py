"""``cmbfit data`` through typer's runner."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmbfit import data
from cmbfit.cli.data import app
from cmbfit.errors import ChecksumError, ConfigError, DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let no test see or touch the developer's data directories."""
    for name in ("CMBFIT_DATA", "CMBFIT_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CMBFIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


FIRAS = "firas/firas_monopole_spec_v1.txt"


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
