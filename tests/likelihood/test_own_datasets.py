"""A user's own data sets: a dataset.yaml with its files, a class, a package; and what is known without reading data."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from cmbfit.data import read_bytes
from cmbfit.errors import CodeNotAllowedError, ConfigError, DataError, LikelihoodError
from cmbfit.fit.build import load_data
from cmbfit.likelihood import Gaussian, Uniform
from cmbfit.likelihood.datasets.catalog import dataset_names, description
from cmbfit.likelihood.datasets.kinds import KINDS
from cmbfit.likelihood.selection import read_words, select
from cmbfit.provenance.uses import fit_uses
from cmbfit.registry import entry_points
from cmbfit.theory.spectra import Spectra

# nine multipoles of TT in three bins of flat weight: ln L is worked out by hand below
SPEC = {
    "title": "three bins",
    "kind": "candl",
    "definition": "mine.yaml",
    "files": ["mine.yaml", "data.txt", "cov.txt", "windows/TT_90x90_window_functions.txt"],
    "sky": {"mine": {"tt": [2, 10]}},
    "nuisance": {"A_mine": {"gaussian": [1.0, 0.01]}},
    "calibration": {"A_mine": {"tt": -2}},
    "citation": "none",
}
DEFINITION = {
    "name": "mine",
    "band_power_file": "data.txt",
    "covariance_file": "cov.txt",
    "window_functions_folder": "windows",
    "spectra_info": [{"TT 90x90": 3}],
    "data_model": [],
}
VALUES = np.array([1000.0, 900.0, 800.0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ell = np.arange(2, 11)
    windows = np.stack([((ell - 2) // 3 == b) / 3 for b in range(3)])
    (tmp_path / "windows").mkdir()
    np.savetxt(tmp_path / "windows" / "TT_90x90_window_functions.txt", np.column_stack([ell, windows.T]))
    np.savetxt(tmp_path / "data.txt", VALUES)
    np.savetxt(tmp_path / "cov.txt", np.diag([10.0**2] * 3))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(DEFINITION))
    write(tmp_path)
    return tmp_path


def write(folder: Path, **changes: object) -> str:
    path = folder / "dataset.yaml"
    spec = {k: v for k, v in {**SPEC, **changes}.items() if v is not None}
    path.write_text(yaml.safe_dump(spec))
    return str(path)


def flat(value: float) -> Spectra:
    return Spectra({"tt": torch.full((1, 11), value, dtype=torch.float64)})


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def test_a_dataset_yaml_with_its_files_is_a_data_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    path = f"./{folder.name}/dataset.yaml"
    (like,) = load_data([path])
    # a flat model of 900/1.1^2 against 1000, 900 and 800 with errors of 10
    expected = -0.5 * (((VALUES - 900 / 1.21) / 10) ** 2).sum()
    assert like.log_prob(flat(900.0), {"A_mine": one(1.1)}).item() == pytest.approx(expected, rel=1e-12)
    assert like.info.name == folder.name
    assert like.info.sky == {"mine": {"tt": (2, 10)}}
    # each file is recorded with its sha256, the description too
    sums = like.settings()["files"]
    assert set(sums) == {*SPEC["files"], "dataset.yaml"}
    for file, sha256 in sums.items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == sha256
    (chosen,) = select([path])
    assert chosen.name == path  # as it was written
    assert set(chosen.user_hashes()) == {
        f"{folder.name}/dataset.yaml",
        *(f"{folder.name}/{x}" for x in SPEC["files"]),
    }
    (cut,) = load_data([{path: {"cuts": {"tt": [4, 10]}}}])
    assert cut.info.n_data == 2
    assert read_words([path]) == [path]


def test_a_nuisance_needs_its_dataset_yaml_alone(folder: Path) -> None:
    """A second calibration: a line for its prior, one for what it does; the fit learns both from there."""
    path = write(
        folder,
        nuisance={"A_mine": {"gaussian": [1.0, 0.01]}, "gain": {"uniform": [0.9, 1.1]}},
        calibration={"A_mine": {"tt": -2}, "gain": {"tt": 1}},
    )
    (chosen,) = select([path])
    assert chosen.nuisance_priors == {"A_mine": Gaussian(1.0, 0.01), "gain": Uniform(0.9, 1.1)}
    (like,) = load_data([path])
    expected = -0.5 * (((VALUES - 900 * 1.05) / 10) ** 2).sum()
    got = like.log_prob(flat(900.0), {"A_mine": one(1.0), "gain": one(1.05)}).item()
    assert got == pytest.approx(expected, rel=1e-12)
    idle = write(folder, nuisance=SPEC["nuisance"] | {"gain": {"uniform": [0.9, 1.1]}})
    with pytest.raises(LikelihoodError, match=r"gain acts on nothing; say how in its dataset\.yaml"):
        load_data([idle])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": ["../secret.txt"]}, "leads out of its folder"),
        ({"files": ["/etc/hostname"]}, "leads out of its folder"),
        ({"files": ["link.txt"]}, "leads out of its folder"),
        ({"files": ["none.txt"]}, "no file none.txt beside it"),
        ({"files": 3}, "expected a list of names"),
        ({"files": ["mine.yaml"]}, "data.txt"),
        ({"citation": None}, "citation: expected text, found nothing"),
        ({"sky": ["tt"]}, r"sky: expected a mapping, found \['tt'\]"),
        ({"sky": {"mine": {"tt": 3}}}, "expected a data set of kind candl"),
        ({"kind": "cadnl"}, "did you mean 'candl'"),
        ({"kind": "simall"}, "expected a data set of kind simall, found: KeyError"),
    ],
)
def test_malformed_data_sets_are_refused_by_name(
    folder: Path, changes: dict[str, object], message: str
) -> None:
    (folder.parent / "secret.txt").write_text("1")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    with pytest.raises((DataError, LikelihoodError), match=message):
        load_data([write(folder, **changes)])
    with pytest.raises(DataError, match="no such file"):
        load_data([str(folder / "other.yaml")])


READER = """from cmbfit.likelihood.datasets.source import data_set_info
from cmbfit.likelihood.tau_prior import ParameterGaussian
def read(source, options):
    return ParameterGaussian(data_set_info(source, 1, options), "tau", 0.05, 0.01)
"""
LIKE = """import torch
from cmbfit.likelihood.base import DataSetInfo
class Width:
    pairs, lmax = (), 0
    def __init__(self, *, width, centre=0.05):
        self.info = DataSetInfo("width", "tau", {}, 1, "none")
        self.width, self.centre = width, centre
    def log_prob(self, spectra, nuisance):
        return -0.5 * ((spectra.parameters["tau"] - self.centre) / self.width) ** 2
    def to(self, device):
        return self
    def settings(self):
        return {"width": self.width}
def half(): return 3
"""


def test_a_kind_may_be_a_file_beside_the_data_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "reader.py").write_text(READER)
    path = write(folder, kind="./reader.py", nuisance={})
    (chosen,) = select([path])
    assert str(folder / "reader.py") in chosen.user_hashes()
    assert chosen.nuisance_names == []
    with pytest.raises(CodeNotAllowedError, match=r"reader\.py"):
        chosen.load()
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    spectra = Spectra({"tt": torch.zeros(1, 11, dtype=torch.float64)}, {"tau": one(0.07)})
    assert chosen.load().log_prob(spectra, {}).item() == pytest.approx(-2.0)


def test_a_class_of_the_user_s_is_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mylike.py"
    path.write_text(LIKE)
    item = {"likelihood": f"{path}:Width", "width": 0.01}
    (chosen,) = select([item])
    assert chosen.nuisance_priors is None
    assert chosen.user_hashes() == {str(path): hashlib.sha256(LIKE.encode()).hexdigest()}
    with pytest.raises(CodeNotAllowedError):
        load_data([item])
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    (like,) = load_data([item])
    spectra = Spectra({"tt": torch.zeros(1, 11, dtype=torch.float64)}, {"tau": one(0.07)})
    assert like.log_prob(spectra, {}).item() == pytest.approx(-2.0)
    with pytest.raises(ConfigError, match=r"argument 'widht'; it takes"):
        load_data([{"likelihood": f"{path}:Width", "widht": 0.01}])
    with pytest.raises(ConfigError, match=r"expected the interface of .* found a int"):
        load_data([{"likelihood": f"{path}:half"}])


def test_options_that_a_format_does_not_have_are_refused(tmp_path: Path) -> None:
    for item, near in (
        ({"sacc": "x.fits", "unit": "dl", "rnages": {}}, "ranges"),
        ({"candl": "x.yaml", "cust": {}}, "cuts"),
        ({"sacc": "x.fits", "unit": "dl", "priors": {}}, None),
    ):
        (chosen,) = select([item])
        message = f"did you mean {near!r}" if near else "unknown option 'priors'"
        with pytest.raises(ConfigError, match=message):
            chosen.load()
    for extra, message in (
        ({"ranges": {"bb": [2, 10]}}, "ranges: bb is none of the pairs"),
        (
            {"calibration": {"A": {"prior": {"gaussian": [1, 0.1]}, "powers": {"bb": 1}}}},
            "calibration: A: bb is none",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            load_data([{"sacc": "x.fits", "unit": "dl", "pairs": ["tt"], **extra}])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"planck2018_lowl_ee": {"rename": ["A_planck"]}}, "rename: expected {NAME: ...}"),
        ({"planck2018_lowl_ee": {"priors": 3}}, "priors: expected {NAME: ...}"),
        ({"sacc": "x.fits", "calibration": {"A": {"powers": {}}}}, "calibration: A: expected {prior"),
        ({"candl": 3}, "candl: expected a path"),
    ],
)
def test_malformed_options_are_refused_before_data_are_read(item: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        _ = select([item])[0].nuisance_priors


def test_the_nuisances_of_a_joint_prior_are_known_with_their_correlation() -> None:
    """SPT-3G 2018: the covariance in dataset.yaml is the release's own file."""
    (chosen,) = select(["spt3g_2018_lite"])
    (joint,) = chosen.joint_priors
    table = np.array(
        [row.split() for row in read_bytes("spt3g_2018_lite/lite_cal_cov.txt").decode().splitlines()], float
    )
    assert joint.names == ("Tcal", "Ecal")
    np.testing.assert_array_equal(np.array(joint.covariance), table)
    assert chosen.nuisance_priors == {
        "Tcal": Gaussian(1.0, float(np.sqrt(table[0, 0]))),
        "Ecal": Gaussian(1.0, float(np.sqrt(table[1, 1]))),
    }
    assert select(["planck2018"])[0].joint_priors == ()


def test_every_shipped_data_set_says_its_kind_and_its_nuisances_without_its_data() -> None:
    for name in dataset_names():
        assert description(name)["kind"] in KINDS
        (chosen,) = select([name])
        assert chosen.nuisance_priors is not None
        assert chosen.nuisance_names == list(chosen.nuisance_priors)
    renamed = {"planck2018_lowl_ee": {"rename": {"A_planck": "A"}, "priors": {"A": {"uniform": [0.9, 1.1]}}}}
    assert select([renamed])[0].nuisance_priors == {"A": Uniform(0.9, 1.1)}
    with pytest.raises(LikelihoodError, match="did you mean 'A_planck'"):
        _ = select([{"planck2018_lowl_ee": {"rename": {"A_plank": "A"}}}])[0].nuisance_priors


def test_a_package_brings_a_data_set_without_being_imported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    package = site / "bins_of_mine"
    shutil.copytree(folder, package, ignore=shutil.ignore_patterns("site"))
    (package / "__init__.py").write_text("raise SystemExit('ran')\n")
    info = site / "bins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cmbfit.datasets]\nthree_bins = bins_of_mine\n")
    monkeypatch.syspath_prepend(str(site))
    entry_points.cache_clear()
    try:
        assert "three_bins" in dataset_names()
        (like,) = load_data(["three_bins"])
        fit = SimpleNamespace(data=["three_bins"], theory={}, sampler={})
        assert {f"three_bins/{x}" for x in SPEC["files"]} <= set(fit_uses(fit).files)
    finally:
        entry_points.cache_clear()
    assert like.info.name == "three_bins"
    assert like.info.n_data == 3
