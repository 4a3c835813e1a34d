"""One member of a tar archive: hostile archives included."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from cmbfit.data.archive import extract_member
from cmbfit.errors import DataError


def make(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as t:
        for m in members:
            if isinstance(m, tarfile.TarInfo):
                t.addfile(m)
            else:
                info = tarfile.TarInfo(m[0])
                info.size = len(m[1])
                t.addfile(info, io.BytesIO(m[1]))
    return path


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


def test_the_member_lands_where_the_caller_says(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.tar.gz", ("./beams/b.fits", b"right"), ("../../escape", b"wrong"))
    extract_member(archive, "beams/b.fits", tmp_path / "out" / "x.fits")
    assert (tmp_path / "out" / "x.fits").read_bytes() == b"right"
    # a name that climbs decides nothing either
    extract_member(archive, "../../escape", tmp_path / "out" / "y")
    assert (tmp_path / "out" / "y").read_bytes() == b"wrong"
    assert not (tmp_path.parents[1] / "escape").exists()


@pytest.mark.parametrize(
    ("members", "wanted", "text"),
    [
        ([("a/b.fits", b"1")], "c/b.fits", "a/b.fits"),
        ([("b", b"1"), ("b", b"2")], "b", "found 2"),
        ([link("b", "/etc/passwd")], "b", "no regular file"),
        ([("b", b"12345")], "b", "more than 4"),
    ],
)
def test_what_is_refused(tmp_path: Path, members: list, wanted: str, text: str) -> None:
    archive = make(tmp_path / "a.tar.gz", *members)
    with pytest.raises(DataError, match=text):
        extract_member(archive, wanted, tmp_path / "out", max_bytes=4)
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.tar.gz", ("b", bytes(range(256)) * 400))
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="tar archive"):
        extract_member(archive, "b", tmp_path / "out")
    assert not (tmp_path / "out").exists()
