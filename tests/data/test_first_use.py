"""Files without a published sha256 over a local https server: trusted once, pinned, checked from then on."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from typer.testing import CliRunner

from cmbfit import data
from cmbfit.cli.data import app
from cmbfit.data.first_use import structure_problem, trust_command
from cmbfit.data.model import Entry, HttpsSource, Registry
from cmbfit.errors import ChecksumError, DataError, DownloadError
from tests.data.helpers import Page, Server, files_below, sha256

MAP = "wmap9/masks/wmap_temperature_kq85_analysis_mask_r9_9yr_v5.fits"


def fits_bytes(n: int = 20000) -> bytes:
    out = io.BytesIO()
    column = fits.Column(name="TEMPERATURE", format="E", array=np.arange(n, dtype=np.float32))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(out)
    return out.getvalue()


@pytest.fixture
def https(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    certificate = Path(__file__).with_name("localhost.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    server = Server(certificate)
    yield server
    server.close()


def registry(https: Server, name: str = "g/map.fits", **known: object) -> Registry:
    entry = Entry(name, None, None, (HttpsSource(f"{https.base}/{name.rpartition('/')[2]}"),), **known)  # type: ignore[arg-type]
    return Registry({name: entry}, Path())


def test_a_file_is_pinned_when_it_first_comes(https: Server, own_cache: Path) -> None:
    body, said = fits_bytes(), []
    https.pages["/map.fits"] = Page(body)
    path = data.trust_first("g/map.fits", registry=registry(https), progress=False, say=said.append)
    assert path == own_cache / "g/map.fits"
    assert path.read_bytes() == body
    lock = yaml.safe_load(data.lock_file().read_text())
    assert lock == {"version": 1, "pins": {"g/map.fits": {"sha256": sha256(body), "bytes": len(body)}}}
    assert said == [
        f"g/map.fits: trusted sha256 {sha256(body)}, {len(body)} bytes (no md5 is published), pinned in {data.lock_file()}"
    ]


def test_from_then_on_it_is_a_file_like_any_other(https: Server, tmp_path: Path, monkeypatch) -> None:
    """The real registry, the real command; the site stands on this machine."""
    body = fits_bytes()
    url = next(s.url for s in data.load_registry()[MAP].sources if isinstance(s, HttpsSource))
    site, _, rest = url.removeprefix("https://").partition("/")
    overlay = tmp_path / "mirrors.yaml"
    overlay.write_text(yaml.safe_dump({"version": 1, "mirrors": {f"https://{site}/": https.base + "/"}}))
    monkeypatch.setenv("CMBFIT_REGISTRY", str(overlay))
    https.pages[f"/{rest}"] = Page(body)
    with pytest.raises(DownloadError, match=f"cmbfit data fetch --trust-first {MAP}"):
        data.fetch(MAP)
    result = CliRunner().invoke(app, ["fetch", "--trust-first", MAP], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "1 of 1 files have no published sha256" in result.stderr
    assert sha256(body) in result.stderr
    assert result.stdout.strip() == str(data.cached_path(data.load_registry()[MAP]))
    assert data.load_registry()[MAP].sha256 == sha256(body)
    assert data.fetch(MAP, offline=True).read_bytes() == body
    assert CliRunner().invoke(app, ["verify", MAP]).exit_code == 0
    data.cached_path(data.load_registry()[MAP]).write_bytes(body[:-1] + b"!")
    assert CliRunner().invoke(app, ["verify", MAP]).exit_code == 1


def test_another_file_of_that_name_is_refused_later(https: Server) -> None:
    body = fits_bytes()
    https.pages["/map.fits"] = Page(body)
    where = registry(https)
    data.trust_first("g/map.fits", registry=where, progress=False, say=lambda _: None)
    pins = yaml.safe_load(data.lock_file().read_text())["pins"]["g/map.fits"]
    pinned = replace(where["g/map.fits"], sha256=pins["sha256"], size=pins["bytes"])
    data.cached_path(pinned).unlink()
    https.pages["/map.fits"].body = body[:-1] + b"!"  # the site has another file now
    for act in (data.fetch, data.trust_first):
        with pytest.raises(DownloadError, match=f"expected sha256 {sha256(body)}"):
            act("g/map.fits", registry=Registry({"g/map.fits": pinned}, Path()), progress=False)


@pytest.mark.parametrize("etag", ['"one"', None])
def test_an_interrupted_download_resumes_the_same_version_only(https: Server, own_cache: Path, etag) -> None:
    body = fits_bytes()
    page = https.pages["/map.fits"] = Page(body, etag=etag, cuts=1, cut_at=30000)
    data.trust_first("g/map.fits", registry=registry(https), progress=False, say=lambda _: None)
    assert data.cached_path(registry(https)["g/map.fits"]).read_bytes() == body
    assert page.requests == ([None, "bytes=30000-"] if etag else [None, None])
    assert [p.name for p in (own_cache / "g").iterdir() if p.is_file()] == ["map.fits"]


def test_a_part_of_another_version_is_not_joined(https: Server, monkeypatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    old, new = fits_bytes(), fits_bytes()[:-5760] + b"\x01" * 5760
    page = https.pages["/map.fits"] = Page(old, etag='"one"', cuts=99, cut_at=3000)
    where = registry(https)
    with pytest.raises(DownloadError, match="are kept and the next call resumes"):
        data.trust_first("g/map.fits", registry=where, progress=False, say=lambda _: None)
    page.body, page.etag, page.cuts = new, '"two"', 0
    assert (
        data.trust_first("g/map.fits", registry=where, progress=False, say=lambda _: None).read_bytes() == new
    )


@pytest.mark.parametrize(
    ("name", "body", "known", "message"),
    [
        ("g/map.fits", fits_bytes()[:-9000], {}, "truncated"),
        ("g/map.fits", b"<!DOCTYPE html><title>Not found</title>", {}, "found a web page"),
        ("g/map.fits", b"SIMPLE? no", {}, "expected a whole FITS file"),
        ("g/map.fits", fits_bytes(), {"size": 7}, "expected 7 bytes"),
        ("g/map.fits", fits_bytes(), {"md5": "0" * 32}, "expected md5 0000"),
        ("g/b.tar.gz", gzip.compress(b"x" * 5000, mtime=0)[:60], {}, "damaged"),
        ("g/b.txt", b"1 2\0\0", {}, "expected text"),
        ("g/b.txt", b"", {}, "empty"),
    ],
)
def test_what_cannot_be_the_file_is_not_trusted(
    https: Server, own_cache: Path, name, body, known, message
) -> None:
    https.pages[f"/{name.rpartition('/')[2]}"] = Page(body)
    entry = Entry(
        name,
        None,
        known.get("size"),
        (HttpsSource(f"{https.base}/{name.rpartition('/')[2]}"),),
        md5=known.get("md5"),
    )
    with pytest.raises((ChecksumError, DownloadError), match=message):
        data.trust_first(name, registry=Registry({name: entry}, Path()), progress=False, say=lambda _: None)
    assert not data.lock_file().exists()
    assert files_below(own_cache) == []


def test_a_certificate_that_nobody_signed_is_refused(https: Server, monkeypatch) -> None:
    https.pages["/map.fits"] = Page(fits_bytes())
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(DownloadError, match="certificate is not accepted"):
        data.trust_first("g/map.fits", registry=registry(https), progress=False, say=lambda _: None)
    assert not data.lock_file().exists()


def test_a_file_that_was_brought_by_hand(https: Server, tmp_path: Path, monkeypatch) -> None:
    """md5 as published, no request to the site."""
    body = fits_bytes()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/map.fits").write_bytes(body)
    monkeypatch.setenv("CMBFIT_DATA", str(tmp_path / "mine"))
    where = registry(https, md5=hashlib.md5(body).hexdigest())  # noqa: S324 (publishers have no other)
    said: list[str] = []
    assert data.trust_first("g/map.fits", registry=where, say=said.append) == tmp_path / "mine/map.fits"
    assert "md5 as published" in said[0]


def test_two_files_share_the_lock(https: Server) -> None:
    for name in ("g/a.fits", "g/b.fits"):
        https.pages["/" + name[2:]] = Page(fits_bytes())
        data.trust_first(name, registry=registry(https, name), progress=False, say=lambda _: None)
    assert set(yaml.safe_load(data.lock_file().read_text())["pins"]) == {"g/a.fits", "g/b.fits"}


def test_a_lock_that_contradicts_the_registry(tmp_path: Path) -> None:
    name = "firas/firas_monopole_spec_v1.txt"
    data.lock_file().parent.mkdir(parents=True)
    data.lock_file().write_text(
        yaml.safe_dump({"version": 1, "pins": {name: {"sha256": "0" * 64, "bytes": 2388}}})
    )
    with pytest.raises(DataError, match="remove this pin if the registry is right"):
        data.load_registry()


def test_structure_of_what_is_right(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo("x")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    for name, body in (
        ("x.fits", fits_bytes()),
        ("x.tar.gz", archive.getvalue()),
        ("x.txt", b"# l b\n0 1\n"),
    ):
        (tmp_path / name).write_bytes(body)
        assert structure_problem(tmp_path / name, name) is None


def test_the_one_command() -> None:
    """Whole groups and folders where all of them is wanted, names where not, nothing where all is pinned."""
    sources = (HttpsSource("https://x.org/f"),)
    names = ("a/m/1", "a/m/2", "a/b/1", "c/1", "d/1")
    where = Registry({n: Entry(n, "0" * 64 if n == "d/1" else None, 1, sources) for n in names}, Path())
    assert trust_command(names, where) == "cmbfit data fetch --trust-first a c"
    assert trust_command(("a/m/1", "a/m/2", "d/1"), where) == "cmbfit data fetch --trust-first a/m"
    assert trust_command(("a/m/2", "a/b/1"), where) == "cmbfit data fetch --trust-first a/b a/m/2"
    assert trust_command(("d/1",), where) is None
