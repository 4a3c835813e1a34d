"""Archives whose members climb, link, repeat, lie about their sizes or are no archives at all."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbfit.data import archive as tar_module
from cmbfit.data.package import extract_member
from tests.fuzz.damage import damaged
from tests.fuzz.judge import judge

NAMES = [
    "a/b.dat", "./a/b.dat", "../b.dat", "../../outside", "/etc/outside", "a/../../b.dat", "a//b.dat", "C:\\b.dat", "a\\b.dat",
    "", ".", "..", "a/b.dat/", "x" * 300, "é", "a/b.dat\n",
]  # fmt: skip
_TYPES = [
    tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE,
    tarfile.CONTTYPE,
]  # fmt: skip
members = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.sampled_from(_TYPES), st.sampled_from(NAMES), st.binary(max_size=40)
    ),
    max_size=4,
)
Members = list[tuple[str, bytes, str, bytes]]


def _tar(content: Members, mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as t:  # type: ignore[call-overload]
        for name, kind, link, body in content:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(body) if kind in (tarfile.REGTYPE, tarfile.CONTTYPE) else 0
            t.addfile(info, io.BytesIO(body))
    return out.getvalue()


def _zip(content: Members) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, kind, _, body in content:
            info = zipfile.ZipInfo(name or "x")
            if kind == tarfile.SYMTYPE:
                info.external_attr = 0o120777 << 16
            z.writestr(info, body)
    return out.getvalue()


def _below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(members, st.sampled_from(["w", "w:gz", "w:xz", "zip"]), st.sampled_from(NAMES), st.data())
def test_nothing_is_written_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, content: Members, mode: str, fallback: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    path, target = folder / "x.archive", folder / "run" / "deep" / "out.dat"
    raw = _zip(content) if mode == "zip" else _tar(content, mode)
    path.write_bytes(raw if data.draw(st.integers(0, 2)) else data.draw(damaged(raw)))
    wanted, _, _, body = data.draw(st.sampled_from([(fallback, b"", "", b""), *content, *content]))
    size = data.draw(st.sampled_from([len(body), len(body), 0, 10]))
    judge("member of a package", lambda: extract_member(path, wanted, size=size))
    assert _below(folder) == {"x.archive"}
    done = judge("member of a tar", lambda: tar_module.extract_member(path, wanted, target, max_bytes=30))
    made = {"run", "run/deep"} | ({"run/deep/out.dat"} if done else set())
    assert _below(folder) - {"x.archive"} <= made
    if done:
        assert target.read_bytes() in [m[3] for m in content] or path.read_bytes() != raw
        assert target.stat().st_size <= 30


def test_a_small_archive_of_a_large_member_is_refused(tmp_path: Path) -> None:
    """A gigabyte of zeros in a megabyte."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z, z.open("a", "w", force_zip64=True) as f:
        for _ in range(64):
            f.write(bytes(1 << 20))
    assert not judge("member of a package", lambda: extract_member(path, "a", size=1000))
