"""fetch, read_bytes and verify: what is used, in which order, and what is refused."""

from __future__ import annotations

import logging
import lzma
import os
from pathlib import Path

import pytest

from cmbfit import data
from cmbfit.data import store
from cmbfit.data.model import EmbeddedSource, Entry, HttpsSource, Registry
from cmbfit.errors import ChecksumError, DataError, DownloadError, WriteError
from tests.data.helpers import Page, Server, files_below, registry_of

BODY = b"l C_l\n" * 1000
MIRROR = Path(__file__).resolve().parents[3] / "shared" / "data-mirror"


@pytest.fixture
def embedded(tmp_path: Path) -> Registry:
    """A registry of one embedded file."""
    root = tmp_path / "root"
    (root / "embedded").mkdir(parents=True)
    (root / "embedded" / "file.bin.xz").write_bytes(lzma.compress(BODY))
    return registry_of(BODY, EmbeddedSource("embedded/file.bin.xz"), root=root)


def test_embedded_file_is_unpacked_into_the_cache(embedded: Registry, own_cache: Path) -> None:
    path = data.fetch("g/file.bin", registry=embedded)
    assert path == own_cache / "g" / "file.bin"
    assert path.read_bytes() == BODY
    assert files_below(own_cache) == ["g/file.bin"]


def test_embedded_file_is_read_without_the_cache(embedded: Registry, own_cache: Path) -> None:
    assert data.read_bytes("g/file.bin", registry=embedded) == BODY
    assert not own_cache.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b[:-3],
        lambda _: b"",
        lambda _: b"not xz at all",
        lambda _: lzma.compress(BODY[:-1] + b"!"),
        lambda _: lzma.compress(BODY[:-1]),
        lambda _: lzma.compress(BODY + b"!"),
    ],
)
def test_damaged_embedded_file_stops(embedded: Registry, own_cache: Path, damage: object) -> None:
    packed = embedded.root / "embedded" / "file.bin.xz"
    packed.write_bytes(damage(packed.read_bytes()))  # type: ignore[operator]
    for act in (data.fetch, data.read_bytes):
        with pytest.raises(ChecksumError, match=r"file.bin.xz: expected .* restore it"):
            act("g/file.bin", registry=embedded)
    assert [r.state for r in data.verify(registry=embedded)] == ["bad"]
    assert not own_cache.exists()


def test_missing_embedded_file_stops(embedded: Registry) -> None:
    (embedded.root / "embedded" / "file.bin.xz").unlink()
    with pytest.raises(ChecksumError, match="No such file"):
        data.read_bytes("g/file.bin", registry=embedded)


def test_altered_cached_file_is_had_again(embedded: Registry, caplog: pytest.LogCaptureFixture) -> None:
    path = data.fetch("g/file.bin", registry=embedded)
    path.write_bytes(BODY[:-1] + b"!")
    with caplog.at_level(logging.WARNING, "cmbfit.data"):
        assert data.fetch("g/file.bin", registry=embedded, offline=True).read_bytes() == BODY
    assert "expected sha256" in caplog.text


def test_altered_cached_file_that_cannot_be_replaced(server: Server, own_cache: Path) -> None:
    registry = registry_of(BODY, server.base + "/file.bin")
    server.pages["/file.bin"] = Page(BODY)
    path = data.fetch("g/file.bin", registry=registry, allow_insecure_loopback=True)
    path.write_bytes(b"short")
    with pytest.raises(ChecksumError, match=r"expected 6000 bytes, found 5; the file was removed"):
        data.fetch("g/file.bin", registry=registry, offline=True)
    assert files_below(own_cache) == []


def test_sources_are_tried_in_order(server: Server, own_cache: Path) -> None:
    registry = registry_of(BODY, server.base + "/gone", server.base + "/bad", server.base + "/good")
    server.pages["/bad"] = Page(BODY[:-1] + b"!")
    server.pages["/good"] = Page(BODY)
    assert data.fetch("g/file.bin", registry=registry, allow_insecure_loopback=True).read_bytes() == BODY
    assert files_below(own_cache) == ["g/file.bin"]
    assert data.fetch("g/file.bin", registry=registry).read_bytes() == BODY  # now from the cache
    assert len(server.pages["/good"].requests) == 1


def test_failure_lists_what_was_tried_and_the_way_out(server: Server, own_cache: Path) -> None:
    registry = registry_of(BODY, server.base + "/gone", server.base + "/bad")
    server.pages["/bad"] = Page(BODY[:-1] + b"!")
    with pytest.raises(DownloadError, match="CMBFIT_DATA") as caught:
        data.fetch("g/file.bin", registry=registry, allow_insecure_loopback=True)
    assert "/gone: HTTP status 404" in str(caught.value)
    assert "/bad: expected sha256" in str(caught.value)
    assert files_below(own_cache) == []


def test_offline_asks_nobody(server: Server) -> None:
    server.pages["/good"] = Page(BODY)
    registry = registry_of(BODY, server.base + "/good")
    with pytest.raises(DownloadError, match="offline"):
        data.fetch("g/file.bin", registry=registry, offline=True, allow_insecure_loopback=True)
    assert server.pages["/good"].requests == []


# Unpinned files


def test_unpinned_file_is_refused_with_the_way_out(server: Server, tmp_path: Path) -> None:
    server.pages["/file.bin"] = Page(BODY)
    entry = Entry("g/file.bin", None, None, (HttpsSource(server.base + "/file.bin"),), md5="0" * 32)
    registry = Registry({entry.name: entry}, tmp_path)
    with pytest.raises(DownloadError, match=r"cmbfit data pin g/file\.bin") as caught:
        data.fetch("g/file.bin", registry=registry, allow_insecure_loopback=True)
    for word in (server.base, "0" * 32, "CMBFIT_REGISTRY", "CMBFIT_DATA"):
        assert word in str(caught.value)
    assert server.pages["/file.bin"].requests == []
    assert [r.state for r in data.verify(["g"], registry=registry)] == ["unpinned"]
    assert data.verify(registry=registry) == []


# CMBFIT_DATA


@pytest.mark.parametrize("place", ["g/file.bin", "file.bin"])
def test_user_directory_is_used_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    mine = tmp_path / "mine" / place
    mine.parent.mkdir(parents=True)
    mine.write_bytes(BODY)
    monkeypatch.setenv("CMBFIT_DATA", str(tmp_path / "mine"))
    registry = registry_of(BODY, "https://example.invalid/file.bin")
    assert data.fetch("g/file.bin", registry=registry) == mine
    assert [(r.place, r.state) for r in data.verify(registry=registry)] == [("CMBFIT_DATA", "ok")]


def test_wrong_file_in_the_user_directory_stops_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file.bin").write_bytes(b"else")
    monkeypatch.setenv("CMBFIT_DATA", str(tmp_path))
    registry = registry_of(BODY, "https://example.invalid/file.bin")
    with pytest.raises(ChecksumError, match=r"CMBFIT_DATA has a file of this name with other bytes"):
        data.fetch("g/file.bin", registry=registry)
    assert (tmp_path / "file.bin").read_bytes() == b"else"
    assert [r.state for r in data.verify(registry=registry)] == ["bad"]


def test_ambiguous_last_name_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: Registry
) -> None:
    """A flat directory's window1.dat may belong to another data set."""
    other = registry_of(b"else", "https://example.invalid/f", name="h/file.bin")
    both = Registry({**embedded.entries, **other.entries}, embedded.root)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file.bin").write_bytes(b"else")
    monkeypatch.setenv("CMBFIT_DATA", str(tmp_path / "mine"))
    assert data.fetch("g/file.bin", registry=both).read_bytes() == BODY
    assert data.fetch("h/file.bin", registry=both) == tmp_path / "mine" / "file.bin"


def test_user_directory_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMBFIT_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match="CMBFIT_DATA: expected a directory"):
        data.user_dir()


@pytest.mark.skipif(not MIRROR.is_dir(), reason=f"no data mirror at {MIRROR}")
def test_data_mirror_gives_bkp_and_the_reference_spectra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMBFIT_DATA", str(MIRROR))
    bkp = data.fetch_group("bkp2015", offline=True)
    assert len(bkp) == 23
    assert bkp["windows/BKPlanck_detset_comb_bpwf_bin1.txt"].parent.name == "windows"
    assert len(data.fetch_group("reference", offline=True)) == 2


# Places and groups


def test_fetch_group_keys_are_relative() -> None:
    files = data.fetch_group("planck2018_low_ell", offline=True)
    assert set(files) == {
        "CTT_bin_low_ell_2018.dat",
        "blmin_low_ell.dat",
        "blmax_low_ell.dat",
        "bweight_low_ell.dat",
    }
    assert len({p.parent for p in files.values()}) == 1


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert data.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("CMBFIT_CACHE")
    monkeypatch.setattr(store, "data_root", lambda: tmp_path / "checkout" / "data")
    assert data.cache_dir() == tmp_path / "checkout" / "data" / "downloads"
    monkeypatch.setattr(store, "data_root", lambda: tmp_path / "site-packages" / "cmbfit" / "_data")
    assert data.cache_dir().name == "cmbfit"


def test_verify_reports_every_copy_and_changes_nothing(embedded: Registry) -> None:
    path = data.fetch("g/file.bin", registry=embedded)
    assert [(r.place, r.state) for r in data.verify(registry=embedded)] == [
        ("embedded", "ok"),
        ("cached", "ok"),
    ]
    path.write_bytes(b"else")
    assert [(r.place, r.state) for r in data.verify(registry=embedded)] == [
        ("embedded", "ok"),
        ("cached", "bad"),
    ]
    assert path.read_bytes() == b"else"


def test_verify_says_what_is_absent() -> None:
    registry = registry_of(BODY, "https://example.invalid/file.bin")
    assert data.verify(registry=registry) == []
    assert [r.state for r in data.verify(["g/file.bin"], registry=registry)] == ["absent"]


def test_nothing_is_written_when_the_cache_is_not_a_directory(
    embedded: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("CMBFIT_CACHE", os.fspath(tmp_path / "taken"))
    with pytest.raises(WriteError, match="taken"):
        data.fetch("g/file.bin", registry=embedded)


@pytest.mark.parametrize("name", ["file.bin", "file.bin.part"])
def test_a_folder_in_the_place_of_a_cached_file_stops_and_stays(
    server: Server, own_cache: Path, name: str
) -> None:
    server.pages["/file.bin"] = Page(BODY)
    registry = registry_of(BODY, server.base + "/file.bin")
    (own_cache / "g" / name / "inside").mkdir(parents=True)
    with pytest.raises(DataError, match=rf"{name}: expected a file or nothing, found a directory"):
        data.fetch("g/file.bin", registry=registry, allow_insecure_loopback=True)
    assert (own_cache / "g" / name / "inside").is_dir()
    states = [(r.state, r.message) for r in data.verify(registry=registry)]
    assert states == ([("bad", "a directory or device, no file")] if name == "file.bin" else [])
