"""The downloader against a server that says anything: nothing, too much, too little, garbage, elsewhere, too slowly."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbfit.data import download as module
from cmbfit.data.download import download
from cmbfit.errors import DownloadError
from tests.data.helpers import files_below
from tests.fuzz.judge import judge

BODY = bytes(range(256)) * 300  # more than one chunk
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Answer:
    """What one connection gets: bytes, then a silence or drops [s], then the end, in order or by a reset."""

    sent: bytes
    silence: float = 0.0
    drip: bytes = b""
    reset: bool = False


@dataclass
class Script:
    """A server that plays answers, the last one for ever."""

    answers: list[Answer] = field(default_factory=list)
    played: int = 0

    def __post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            answer = self.answers[min(self.played, len(self.answers) - 1)]
            self.played += 1
            threading.Thread(target=self._play, args=(connection, answer), daemon=True).start()

    @staticmethod
    def _play(connection: socket.socket, answer: Answer) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(2)
            connection.recv(4096)
            connection.sendall(answer.sent)
            for byte in answer.drip:
                time.sleep(0.05)
                connection.sendall(bytes([byte]))
            time.sleep(answer.silence)
            if answer.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    server = Script()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", (1.0, 0.1))
    monkeypatch.setattr(module, "_BACKOFF_MAX", 0.01)


_STATUS = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 206 Partial Content", b"HTTP/1.1 302 Found", b"HTTP/1.1 404 No",
    b"HTTP/1.1 416 Range", b"HTTP/1.1 503 Busy", b"HTTP/1.1 999 ?", b"HTTP/9.9 200 OK", b"HTTP/1.1 -1", b"SSH-2.0-x", b"",
]  # fmt: skip
_HEADERS = [
    b"Content-Length: %d" % len(BODY), b"Content-Length: 0", b"Content-Length: -5", b"Content-Length: 99999999999999",
    b"Content-Length: x", b"Content-Length: %d" % (len(BODY) - 7), b"Transfer-Encoding: chunked", b"Content-Encoding: gzip",
    b"Content-Encoding: br", b"Content-Range: bytes 0-%d/%d" % (len(BODY) - 1, len(BODY)), b"Content-Range: bytes 5-9/*",
    b"Content-Range: lines 1-2/3", b"Retry-After: 99999999", b"Retry-After: -1", b"Location: http://192.0.2.1/x",
    b"Location: /again", b"Location: file:///etc/passwd", b"Location: https://[::1", b"Location: \xff\xfe", b"Location:",
    b"X: " + b"y" * 70_000, b"no colon", b": empty", b"Set-Cookie: a=b; path=../..", b"Connection: close",
]  # fmt: skip
_BODIES = [
    b"",
    BODY,
    BODY[:-7],
    BODY[: len(BODY) // 2],
    BODY * 2,
    b"5\r\nhello\r\n0\r\n\r\n",
    b"ffffffffff\r\nx",
    b"\x1f\x8bgarbage",
]

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
_HALF = len(BODY) // 2
_REST = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\n\r\n"
honest = st.sampled_from([
    Answer(_OK + BODY), Answer(b"HTTP/1.0 200 OK\r\n\r\n" + BODY), Answer(_OK + BODY[:_HALF]),
    Answer(_OK + BODY[:_HALF], reset=True), Answer(_REST % (_HALF, len(BODY) - 1, len(BODY)) + BODY[_HALF:]),
    Answer(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"),
])  # fmt: skip
answers = st.builds(
    lambda status, headers, body, end, silence, reset: Answer(
        b"\r\n".join([status, *headers]) + end + body, silence, b"", reset
    ),
    st.sampled_from(_STATUS),
    st.lists(st.sampled_from(_HEADERS), max_size=3),
    st.one_of(st.sampled_from(_BODIES), st.binary(max_size=100)),
    st.sampled_from([b"\r\n\r\n", b"\r\n\r\n", b"\r\n\r\n", b"\r\n", b""]),
    st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.15]),
    st.booleans(),
)


@given(st.lists(st.one_of(honest, answers), min_size=1, max_size=3), st.booleans())
def test_any_answer(
    tmp_path_factory: pytest.TempPathFactory, script: Script, played: list[Answer], sized: bool
) -> None:
    """Either the right bytes or a typed error; beside the target only a `.part` to go on from."""
    folder = tmp_path_factory.mktemp("download")
    target = folder / "a" / "f.bin"
    script.answers, script.played = played, 0

    def have() -> None:
        download(
            script.base + "/f.bin", target, sha256=SHA256, size=len(BODY) if sized else None, progress=False, retries=1,
            backoff=0.0, max_bytes=len(BODY) + 1000, allow_insecure_loopback=True,
        )  # fmt: skip

    had = judge("server", have)
    assert set(files_below(folder)) <= ({"a/f.bin"} if had else {"a/f.bin.part"})
    if had:
        assert target.read_bytes() == BODY


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"HTTP/1.1 200 OK\r\n", drip=b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"), "no whole answer within"),
        (Answer(_OK, drip=BODY[:60]), r"the server sent \d+ bytes in"),
    ],
    ids=["headers", "body"],
)  # fmt: skip
def test_a_server_that_drips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script, answer: Answer, message: str
) -> None:
    """A byte at a time, each within the timeout: without a limit of its own it would go on for ever."""
    monkeypatch.setattr(module, "_TIMEOUT", (1.0, 1.0))
    monkeypatch.setattr(module, "_HEADERS", 0.5)
    monkeypatch.setattr(module, "_SLOW", (1024.0, 0.5))
    script.answers, script.played = [answer], 0
    begun = time.monotonic()
    with pytest.raises(DownloadError, match=message):
        download(
            script.base + "/f.bin", tmp_path / "f.bin", sha256=SHA256, size=len(BODY), progress=False, retries=0,
            allow_insecure_loopback=True,
        )  # fmt: skip
    assert time.monotonic() - begun < 2.5  # the whole drip takes longer


def test_an_honest_server_is_believed(tmp_path: Path, script: Script) -> None:
    script.answers, script.played = [Answer(_OK + BODY)], 0
    download(
        script.base + "/f.bin",
        tmp_path / "f.bin",
        sha256=SHA256,
        progress=False,
        allow_insecure_loopback=True,
    )
    assert (tmp_path / "f.bin").read_bytes() == BODY
