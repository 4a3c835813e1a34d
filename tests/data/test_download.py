"""The downloader against a server that breaks off, lies and redirects."""

from __future__ import annotations

import hashlib
import multiprocessing
import socket
from pathlib import Path

import pytest

from cmbfit.data.download import _CHUNK, download
from cmbfit.errors import ChecksumError, DownloadError, WriteError
from tests.data.helpers import Page, Server, files_below, sha256

BODY = bytes(range(256)) * 4000  # about 1 MB


def get(server: Server, folder: Path, body: bytes = BODY, path: str = "/f.bin", **kwargs: object) -> Path:
    options: dict = {"sha256": sha256(body), "size": len(body), "backoff": 0.0, "progress": False} | kwargs
    return download(server.base + path, folder / "f.bin", allow_insecure_loopback=True, **options)


def test_whole_file(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY)
    assert get(server, tmp_path).read_bytes() == BODY
    assert files_below(tmp_path) == ["f.bin"]
    assert server.pages["/f.bin"].requests == [None]


def test_progress_bar_is_quiet_off_a_terminal(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    server.pages["/f.bin"] = Page(BODY)
    get(server, tmp_path, progress=True)
    assert capfd.readouterr().err == ""


def test_file_that_is_there_is_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.bin").write_bytes(BODY)
    assert get(server, tmp_path).read_bytes() == BODY  # there is no page to get


def test_resumes_within_one_call(server: Server, tmp_path: Path) -> None:
    page = server.pages["/f.bin"] = Page(BODY, cuts=2, cut_at=4 * _CHUNK + 5)
    assert get(server, tmp_path).read_bytes() == BODY
    assert page.requests == [None, f"bytes={4 * _CHUNK + 5}-", f"bytes={8 * _CHUNK + 10}-"]


def test_resumes_in_a_later_call(server: Server, tmp_path: Path) -> None:
    page = server.pages["/f.bin"] = Page(BODY, cuts=1, cut_at=2 * _CHUNK)
    with pytest.raises(DownloadError, match=f"{2 * _CHUNK} bytes are kept"):
        get(server, tmp_path, retries=0)
    assert files_below(tmp_path) == ["f.bin.part"]
    assert get(server, tmp_path, retries=0).read_bytes() == BODY
    assert page.requests == [None, f"bytes={2 * _CHUNK}-"]
    assert files_below(tmp_path) == ["f.bin"]


def test_server_without_range_starts_anew(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY, cuts=1, cut_at=1000, ranges=False)
    assert get(server, tmp_path).read_bytes() == BODY


def test_body_without_length_that_ends_early_is_resumed(server: Server, tmp_path: Path) -> None:
    page = server.pages["/f.bin"] = Page(BODY, cuts=1, cut_at=5000, length=False)
    assert get(server, tmp_path).read_bytes() == BODY
    assert page.requests == [None, "bytes=5000-"]


def test_complete_part_needs_no_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.bin.part").write_bytes(BODY)
    page = server.pages["/f.bin"] = Page(BODY)
    assert get(server, tmp_path).read_bytes() == BODY
    assert page.requests == []


@pytest.mark.parametrize("stale", [b"x" * 1000, b"x" * len(BODY), b"x" * (len(BODY) + 5)])
def test_stale_part_is_thrown_away(server: Server, tmp_path: Path, stale: bytes) -> None:
    (tmp_path / "f.bin.part").write_bytes(stale)
    server.pages["/f.bin"] = Page(BODY)
    assert get(server, tmp_path).read_bytes() == BODY


def test_part_that_the_server_cannot_resume(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.bin.part").write_bytes(BODY + b"more")
    server.pages["/f.bin"] = Page(BODY)
    assert get(server, tmp_path, size=None).read_bytes() == BODY


def test_wrong_checksum_removes_the_file(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY[:-1] + b"!")
    with pytest.raises(ChecksumError, match="expected sha256"):
        get(server, tmp_path)
    assert files_below(tmp_path) == []


def test_md5_is_checked_besides(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY)
    with pytest.raises(ChecksumError, match="expected md5"):
        get(server, tmp_path, md5="0" * 32)
    assert files_below(tmp_path) == []
    right = hashlib.md5(BODY).hexdigest()  # noqa: S324 (published sums are md5)
    assert get(server, tmp_path, md5=right).is_file()


@pytest.mark.parametrize("body", [BODY + b"more", BODY[:-4]], ids=["long", "short"])
def test_announced_wrong_length(server: Server, tmp_path: Path, body: bytes) -> None:
    server.pages["/f.bin"] = Page(body)
    with pytest.raises(DownloadError, match=f"expected {len(BODY)} bytes, the server offers {len(body)}"):
        get(server, tmp_path)
    assert files_below(tmp_path) == []


def test_body_too_long_without_length(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY * 3, length=False)
    with pytest.raises(DownloadError, match="more than the expected"):
        get(server, tmp_path)
    assert files_below(tmp_path) == []


def test_body_too_short_without_length(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY[:5000], length=False, ranges=False)
    with pytest.raises(DownloadError, match="the connection ended after 5000"):
        get(server, tmp_path)
    # It cannot be told from an interruption, so the beginning stays to be resumed ...
    assert files_below(tmp_path) == ["f.bin.part"]
    # ... and does no harm later.
    server.pages["/f.bin"] = Page(BODY)
    assert get(server, tmp_path).read_bytes() == BODY


def test_size_cap_where_the_size_is_unknown(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY)
    with pytest.raises(DownloadError, match="more than the expected 1000 bytes"):
        get(server, tmp_path, size=None, max_bytes=1000)
    assert files_below(tmp_path) == []


def test_missing_page(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="HTTP status 404"):
        get(server, tmp_path)
    assert files_below(tmp_path) == []


def test_missing_page_keeps_what_another_source_brought(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.bin.part").write_bytes(BODY[:1000])
    with pytest.raises(DownloadError, match="HTTP status 404"):
        get(server, tmp_path)
    assert files_below(tmp_path) == ["f.bin.part"]


def test_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    page = server.pages["/f.bin"] = Page(status=503)
    with pytest.raises(DownloadError, match="no success in 3 attempts, last: HTTP status 503"):
        get(server, tmp_path, retries=2)
    assert len(page.requests) == 3
    assert files_below(tmp_path) == []


def test_plain_http_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="only https is spoken"):
        download("http://127.0.0.1:9/f.bin", tmp_path / "f.bin", sha256=sha256(BODY), backoff=0.0)


def test_redirect_to_plain_http_is_refused(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(status=302, location="http://example.invalid/f.bin")
    with pytest.raises(DownloadError, match="only https is spoken"):
        get(server, tmp_path)
    assert files_below(tmp_path) == []


def test_redirect_loop_ends(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(status=302, location="/f.bin")
    with pytest.raises(DownloadError, match="5 redirects"):
        get(server, tmp_path)


def test_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.pages["/old"] = Page(status=302, location="/f.bin")
    server.pages["/f.bin"] = Page(BODY)
    assert get(server, tmp_path, path="/old").read_bytes() == BODY


def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as s:  # a port on which nobody listens
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        with pytest.raises(DownloadError, match="no success in 2 attempts, last: ConnectionError") as caught:
            download(
                f"http://127.0.0.1:{port}/f.bin",
                tmp_path / "f.bin",
                sha256=sha256(BODY),
                retries=1,
                backoff=0.0,
                allow_insecure_loopback=True,
            )
    assert "0x" not in str(caught.value)
    assert files_below(tmp_path) == []


def test_place_that_cannot_be_written_is_a_typed_error(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(WriteError, match="taken: cannot be written"):
        get(server, tmp_path / "taken")


def _in_process(base: str, folder: str, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    path = download(
        base + "/f.bin",
        Path(folder) / "f.bin",
        sha256=sha256(BODY),
        size=len(BODY),
        progress=False,
        allow_insecure_loopback=True,
    )
    assert path.read_bytes() == BODY


def test_processes_share_one_download(server: Server, tmp_path: Path) -> None:
    page = server.pages["/f.bin"] = Page(BODY)
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    workers = [
        context.Process(target=_in_process, args=(server.base, str(tmp_path), start)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    start.set()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0, 0, 0]
    assert len(page.requests) == 1
    assert files_below(tmp_path) == ["f.bin"]
