from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit import data
from cmbfit.errors import DownloadError
from cmbfit.theory.spectra import Spectra


@pytest.fixture(scope="session")
def fixed(fixed_spectrum: Path) -> Spectra:
    """The published test spectrum, read by numpy and not by cmbfit's own reader."""
    table = np.loadtxt(fixed_spectrum)
    assert table[0, 0] == 2
    columns = (torch.from_numpy(np.concatenate([[0, 0], table[:, i]]))[None] for i in (1, 2, 3))
    return Spectra(dict(zip(("tt", "te", "ee"), columns, strict=True)))


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The project's data mirror, which lies beside a development checkout only."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data-mirror"
    if not folder.is_dir():
        pytest.skip(f"the data mirror is not beside this checkout ({folder})")
    return folder


@pytest.fixture
def mirrored(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of the mirror that cmbfit does not pass on, unpacked and under their registered names, in CMBFIT_DATA."""
    folders = {"aps_lensing": "aps_lensing", "planck_pr4_lensing": "pr4_lensing"}
    for entry in data.load_registry().values():
        group, _, name = entry.name.partition("/")
        if group in folders:
            origin = str(entry.sources[0]).rpartition("/data_pr4/" if "pr4" in group else "/v1.2/")[2]
            path, target = mirror / folders[group] / origin, tmp_path / "data" / group / name
            target.parent.mkdir(parents=True, exist_ok=True)
            raw = path.read_bytes() if path.is_file() else lzma.decompress(Path(f"{path}.xz").read_bytes())
            target.write_bytes(raw)
    monkeypatch.setenv("CMBFIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def bkp(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The BKP 2015 release, found by cmbfit through CMBFIT_DATA."""
    monkeypatch.setenv("CMBFIT_DATA", str(mirror))
    return mirror / "bkp2015"


def fetched(group: str) -> None:
    """Have a data set's files or skip; a package from an index, once."""
    try:
        data.fetch_group(group, progress=False)
    except DownloadError as error:
        pytest.skip(f"no source of {group} within reach: {str(error)[:200]}")
