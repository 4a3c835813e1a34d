"""Files of distances: a user's own, and what is refused of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cmbfit.errors import CmbfitError, DataError, LikelihoodError
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.datasets import dataset_names
from cmbfit.likelihood.datasets.catalog import description
from tests.likelihood.test_low_redshift import DOWNLOADED, EMBEDDED, background, flat


def described(tmp_path: Path, kind: str, **changes: Any) -> Path:
    """Write a data set of the user's with its files, and return its description."""
    if kind == "bao":
        (tmp_path / "mean.txt").write_text("0.3 8.0 DV_over_rs\n0.5 13.4 DM_over_rs\n0.5 22.0 DH_over_rs\n")
        (tmp_path / "cov.txt").write_text("0.01 0 0\n0 0.03 -0.01\n0 -0.01 0.2\n")
        spec: dict[str, Any] = {"values": "mean.txt", "covariance": "cov.txt"}
        files = ["mean.txt", "cov.txt"]
    else:
        (tmp_path / "sn.txt").write_text(
            "#name zcmb zhel mb\na 0.1 0.1 38.3\nb 0.2 0.2 40.0\nc 0.3 0.3 40.9\n"
        )
        (tmp_path / "cov.txt").write_text("# a b c\n0.01 0 0\n0 0.01 0\n0 0 0.01\n")
        columns = {"name": "name", "z": "zcmb", "z_hel": "zhel", "magnitude": "mb"}
        spec, files = {"table": "sn.txt", "columns": columns, "covariance": "cov.txt"}, ["sn.txt", "cov.txt"]
    spec |= {"title": "mine", "kind": kind, "files": files, "sky": {}, "nuisance": {}, "citation": "me"}
    spec |= {"redshifts": {"mine": [0.0, 1.0]}} | changes
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


@pytest.mark.parametrize("kind", ["bao", "supernovae"])
def test_a_users_own_distances(kind: str, tmp_path: Path) -> None:
    like = load_likelihood(str(described(tmp_path, kind)))
    assert like.info.n_data == 3
    assert like.info.redshifts == {"mine": (0.0, 1.0)}
    assert torch.isfinite(like.log_prob(background(), {})).all()


def rewritten(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("bao", rewritten("mean.txt", "0.3 8.0 DV_over_r\n0.5 1 DM_over_rs\n0.5 2 DH_over_rs\n"), "unknown quantity 'DV_over_r'"),
        ("bao", rewritten("mean.txt", "0.5 8.0 DV_over_rs\n0.3 1 DM_over_rs\n0.5 2 DH_over_rs\n"), "row 2: z = 0.3 after 0.5"),
        ("bao", rewritten("mean.txt", "0.3 8.0 DV_over_rs\n0.5 1 DM_over_rs\n"), "expected .*2, 2"),
        ("bao", rewritten("mean.txt", "0.3 8.0\n"), "line 1: expected z, value and quantity"),
        ("bao", rewritten("mean.txt", "-0.3 8.0 DV_over_rs\n"), "redshifts above zero"),
        ("bao", rewritten("cov.txt", "0.01 0 0\n0 0.03 -0.2\n0 -0.2 0.2\n"), "not positive definite"),
        ("bao", rewritten("cov.txt", "0.01 0 0\n0 0.03 -0.2\n0 0.1 0.2\n"), "symmetric"),
        ("bao", rewritten("cov.txt", "a b\n"), "expected a table of numbers"),
        ("supernovae", rewritten("cov.txt", "# a c b\n0.01 0 0\n0 0.01 0\n0 0 0.01\n"), "row 2: the covariance names c, the table b"),
        ("supernovae", rewritten("cov.txt", "# a b\n0.01 0 0\n0 0.01 0\n0 0 0.01\n"), "names 2 objects, the table 3"),
        ("supernovae", rewritten("cov.txt", "0.01 0\n0 0.01\n"), "of 2 supernovae, the table sn.txt of 3"),
        ("supernovae", rewritten("cov.txt", "1 2 3\n"), "expected n x n numbers"),
        ("supernovae", rewritten("cov.txt", "0.01 0 0\n0 -0.01 0\n0 0 0.01\n"), "not positive definite"),
        ("supernovae", rewritten("sn.txt", "#name zcmb zhel\na 0.1 0.1\n"), "magnitude: unknown column 'mb'"),
        ("supernovae", rewritten("sn.txt", "#name zcmb zhel mb\na 0.1 0.1\n"), "row 1: expected 4 values, found 3"),
        ("supernovae", rewritten("sn.txt", "#name zcmb zhel mb\na -0.1 0.1 38\nb 0.2 0.2 40\nc 0.3 0.3 40\n"), "supernova 1: expected a redshift above zero"),
        ("supernovae", rewritten("sn.txt", "#name zcmb zhel mb\n"), "found none"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(
    kind: str, change: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = described(tmp_path, kind)
    change(tmp_path)
    with pytest.raises(CmbfitError, match=message):
        load_likelihood(str(path))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("bao", {"sigma": [1, 1, 1]}, "covariance .* or sigma"),
        ("bao", {"values": [[0.3, 8.0]]}, "expected rows"),
        ("bao", {"horizon_scale": -1}, "horizon_scale"),
        ("supernovae", {"columns": {"z": "zcmb"}}, "found no z_hel"),
        ("supernovae", {"above": 5}, "no supernova is left"),
        ("supernovae", {"columns": {"z": "zcmb", "z_hel": "zhel", "magnitude": "mb", "colour": "c"}}, "unknown column 'colour'"),
        ("supernovae", {"columns": {"z": "zcmb", "z_hel": "zhel", "magnitude": "mb"}}, "say which column"),
    ],
)  # fmt: skip
def test_bad_descriptions_are_refused(
    kind: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CmbfitError, match=message):
        load_likelihood(str(described(tmp_path, kind, **changes)))


def test_tables_that_are_no_grids(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    (tmp_path / "t.txt").write_text("1 1 0.5\n1 2 0.4\n2 1 0.3\n")
    row = {"file": "t.txt", "z": 2.3, "quantities": ["DM_over_rs", "DH_over_rs"], "holds": "likelihood"}
    spec = {
        "title": "t",
        "kind": "bao_tables",
        "files": ["t.txt"],
        "sky": {},
        "nuisance": {},
        "citation": "me",
    }
    for tables, message in (
        ([row], "expected the points of a grid"),
        ([{**row, "quantities": ["DM_over_rs"]}], "expected 2 columns"),
        ([{**row, "holds": "evidence"}], "expected likelihood or chi2"),
        ([], "expected a table"),
    ):
        path.write_text(yaml.safe_dump({**spec, "tables": tables}))
        with pytest.raises(CmbfitError, match=message):
            load_likelihood(str(path))


def test_what_is_not_there_is_said() -> None:
    like = load_likelihood("desi_dr2")
    with pytest.raises(LikelihoodError, match="found no ombh2"):
        like.log_prob(flat(H0=67.0), {})
    with pytest.raises(LikelihoodError, match="sound horizon rdrag"):
        like.log_prob(flat(ombh2=0.02, omch2=0.12, H0=67.0), {})
    with pytest.raises(LikelihoodError, match="cannot be cut"):
        load_likelihood("desi_dr2", cuts={"tt": (2, 30)})
    for name in (*EMBEDDED, *DOWNLOADED):
        assert name in dataset_names()


def test_inverse_covariances_that_are_none(tmp_path: Path) -> None:
    path = described(tmp_path, "supernovae", covariance="cov.npz", files=["sn.txt", "cov.npz"])
    for arrays, message in (
        ({"nsn": np.array([3]), "cov": np.ones(5)}, "expected 6 elements"),
        ({"nsn": np.array([3]), "cov": np.array([1.0, 2, 0, 1, 0, 1])}, "not positive definite"),
        ({"n": np.array([3])}, "expected an npz"),
    ):
        np.savez(tmp_path / "cov.npz", **arrays)
        with pytest.raises((DataError, LikelihoodError), match=message):
            load_likelihood(str(path))


def test_a_table_like_that_of_des(tmp_path: Path) -> None:
    """DES-SN5YR's description on a file of its layout: commas, errors added to a systematic covariance without names."""
    spec = dict(description("des5yr"))
    rows = [
        "CID,IDSURVEY,zCMB,zHD,zHEL,MU,MUERR_FINAL",
        "1,10,0.1,0.1,0.1,38.3,0.1",
        "2,10,0.2,0.2,0.2,40.0,0.2",
    ]
    (tmp_path / spec["table"]).write_text("\n".join(rows) + "\n")
    (tmp_path / spec["covariance"]).write_text("2\n0.01\n0.001\n0.001\n0.02\n")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(spec | {"files": [spec["table"], spec["covariance"]]}))
    like = load_likelihood(str(path))
    expected = np.array([[0.01 + 0.1**2, 0.001], [0.001, 0.02 + 0.2**2]])
    np.testing.assert_allclose(like.covariance, expected, rtol=1e-12)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(like.data, [38.3, 40.0])  # type: ignore[attr-defined]
