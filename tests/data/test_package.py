"""Members of wheels and sdists, from a local package index and, if it is there, the real one."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from pypi_simple import PyPISimple

from cmbfit import data
from cmbfit.data import package
from cmbfit.data.model import PackageSource, Registry
from cmbfit.data.package import extract_member
from cmbfit.errors import ChecksumError, DataError, DownloadError
from tests.data.helpers import Page, Server, files_below, registry_of, sha256

BODY = b"l C_l\n" * 1000
WHEEL = PackageSource("Some.Package", "1.0", "wheel", "some_package/data/f.dat")
SDIST = PackageSource("some-package", "1.0", "sdist", "some_package-1.0/data/f.dat")
WHEEL_NAME, SDIST_NAME = "some_package-1.0-py3-none-any.whl", "some_package-1.0.tar.gz"


def wheel(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, body in members.items():
            z.writestr(name, body)
    return out.getvalue()


def sdist(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            t.addfile(info, io.BytesIO(body))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            t.addfile(info)
    return out.getvalue()


ARCHIVES = {WHEEL_NAME: wheel({WHEEL.member: BODY}), SDIST_NAME: sdist({SDIST.member: BODY})}


@pytest.fixture
def index(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], Server]:
    """Serve archives as a package index that pip's settings name."""

    def serve(archives: dict[str, bytes], digests: bool = True) -> Server:
        links = ""
        for name, body in archives.items():
            server.pages[f"/files/{name}"] = Page(body)
            fragment = f"#sha256={sha256(body)}" if digests else ""
            links += f'<a href="/files/{name}{fragment}">{name}</a>\n'
        server.pages["/simple/some-package/"] = Page(links.encode(), content_type="text/html")
        monkeypatch.setenv("PIP_INDEX_URL", server.base + "/simple/")
        return server

    return serve


def fetch(registry: Registry, **kwargs: bool) -> Path:
    return data.fetch("g/file.bin", registry=registry, progress=False, allow_insecure_loopback=True, **kwargs)


@pytest.mark.parametrize("source", [WHEEL, SDIST], ids=["wheel", "sdist"])
def test_member_from_the_index(index: Callable, own_cache: Path, source: PackageSource) -> None:
    server = index(ARCHIVES)
    assert fetch(registry_of(BODY, source)).read_bytes() == BODY
    name = WHEEL_NAME if source is WHEEL else SDIST_NAME
    assert files_below(own_cache) == ["g/file.bin", f"packages/{name}"]
    # The archive is downloaded once, and serves other members without the index.
    (own_cache / "g" / "file.bin").unlink()
    assert fetch(registry_of(BODY, source), offline=True).read_bytes() == BODY
    assert len(server.pages[f"/files/{name}"].requests) == 1


def test_one_wheel_of_many_is_named(index: Callable, own_cache: Path) -> None:
    chosen = "some_package-1.0-cp311-cp311-manylinux2014_x86_64.whl"
    index(ARCHIVES | {chosen: wheel({WHEEL.member: BODY, "pad": b"x"})})
    source = PackageSource(WHEEL.name, WHEEL.version, "wheel", WHEEL.member, filename=chosen)
    assert fetch(registry_of(BODY, source)).read_bytes() == BODY
    assert f"packages/{chosen}" in files_below(own_cache)


def test_damaged_kept_archive_is_had_again(index: Callable, own_cache: Path) -> None:
    index(ARCHIVES)
    (own_cache / "packages").mkdir(parents=True)
    (own_cache / "packages" / WHEEL_NAME).write_bytes(ARCHIVES[WHEEL_NAME][:-40])
    assert fetch(registry_of(BODY, WHEEL)).read_bytes() == BODY


def test_archive_in_the_user_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip download` on another machine, a copy, and no network here."""
    (tmp_path / WHEEL_NAME).write_bytes(ARCHIVES[WHEEL_NAME])
    monkeypatch.setenv("CMBFIT_DATA", str(tmp_path))
    assert fetch(registry_of(BODY, WHEEL), offline=True).read_bytes() == BODY


def test_member_with_other_bytes(index: Callable, own_cache: Path) -> None:
    index({WHEEL_NAME: wheel({WHEEL.member: BODY[:-1] + b"!"})})
    with pytest.raises(DownloadError, match="expected sha256"):
        fetch(registry_of(BODY, WHEEL))
    assert "g/file.bin" not in files_below(own_cache)


def test_archive_with_other_bytes_than_the_index_says(index: Callable, own_cache: Path) -> None:
    server = index(ARCHIVES)
    server.pages[f"/files/{WHEEL_NAME}"].body += b"!"
    with pytest.raises(DownloadError, match="expected sha256") as caught:
        fetch(registry_of(BODY, WHEEL))
    assert server.base not in str(caught.value)  # an index address may hold a password
    assert files_below(own_cache) == []


def test_index_problems_are_typed(index: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = registry_of(BODY, WHEEL)
    index({SDIST_NAME: ARCHIVES[SDIST_NAME]})
    with pytest.raises(DownloadError, match="the package index does not have it"):
        fetch(registry)
    server = index(ARCHIVES, digests=False)
    with pytest.raises(DownloadError, match="gives no sha256"):
        fetch(registry)
    del server.pages["/simple/some-package/"]
    with pytest.raises(DownloadError, match="no such project"):
        fetch(registry)
    with pytest.raises(DownloadError, match="not reached by https"):
        data.fetch("g/file.bin", registry=registry)
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@127.0.0.1:9/simple/")
    with pytest.raises(DownloadError, match="cannot be reached") as caught:
        fetch(registry)
    assert "secret" not in str(caught.value)


def test_index_of_pip_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    package._pip_index.cache_clear()
    monkeypatch.setattr(package.sys, "executable", "/does/not/exist")
    assert package._pip_index() is None
    package._pip_index.cache_clear()


# Extraction


@pytest.mark.parametrize("member", ["../f.dat", "a/../../f.dat", "/etc/passwd", "a\\..\\f.dat"])
@pytest.mark.parametrize("pack", [wheel, sdist])
def test_names_that_lead_outside_are_refused(tmp_path: Path, member: str, pack: Callable) -> None:
    path = tmp_path / "archive"
    path.write_bytes(pack({member: BODY}))
    with pytest.raises(DataError, match="refused member name"):
        extract_member(path, member, size=len(BODY))
    assert files_below(tmp_path) == ["archive"]


@pytest.mark.parametrize("pack", [wheel, sdist])
def test_member_of_another_size_is_not_read(tmp_path: Path, pack: Callable) -> None:
    path = tmp_path / "archive"
    path.write_bytes(pack({"f.dat": BODY}))
    assert extract_member(path, "f.dat", size=len(BODY)) == BODY
    with pytest.raises(DataError, match="expected 10 bytes, found 6000"):
        extract_member(path, "f.dat", size=10)
    with pytest.raises(DataError, match=r"no member g\.dat"):
        extract_member(path, "g.dat", size=10)


def test_links_in_an_sdist_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(sdist({"f.dat": BODY}, links={"link.dat": "f.dat", "out.dat": "/etc/passwd"}))
    for name in ("link.dat", "out.dat"):
        with pytest.raises(DataError, match="expected 6000 bytes"):
            extract_member(path, name, size=len(BODY))


@pytest.mark.parametrize("name", [WHEEL_NAME, SDIST_NAME])
@pytest.mark.parametrize("keep", [0, 40, -40])
def test_damaged_archives_are_typed_errors(tmp_path: Path, name: str, keep: int) -> None:
    path = tmp_path / name
    path.write_bytes(ARCHIVES[name][:keep])
    with pytest.raises(DataError):
        extract_member(path, (WHEEL if name == WHEEL_NAME else SDIST).member, size=len(BODY))


def test_flipped_bit_in_a_wheel(tmp_path: Path) -> None:
    body = os.urandom(5000)
    archive = bytearray(wheel({"f.dat": body}))
    archive[2000] ^= 1
    path = tmp_path / "archive"
    path.write_bytes(archive)
    with pytest.raises(DataError, match="damaged"):
        extract_member(path, "f.dat", size=len(body))


def test_checksum_error_is_a_data_error() -> None:
    assert issubclass(ChecksumError, DataError)


@pytest.mark.network
def test_real_package_index() -> None:
    """A 10 kB sdist that holds the FIRAS table, which is also embedded."""
    entry = data.load_registry()["firas/firas_monopole_spec_v1.txt"]
    only = next(s for s in entry.sources if isinstance(s, PackageSource))
    try:
        endpoint = os.environ.get("PIP_INDEX_URL") or package._pip_index()
        with PyPISimple(endpoint) if endpoint else PyPISimple() as client:
            client.get_project_page(only.name, timeout=10)
    except requests.exceptions.RequestException as error:
        pytest.skip(f"no package index within reach: {type(error).__name__}")
    registry = registry_of(data.read_bytes(entry.name), only)
    assert data.fetch("g/file.bin", registry=registry).read_bytes() == data.read_bytes(entry.name)
