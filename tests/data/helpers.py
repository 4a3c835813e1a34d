"""A local file server that can misbehave, and small registries."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cmbfit.data import Entry, Registry
from cmbfit.data.model import HttpsSource, Source


@dataclass
class Page:
    """One address: its bytes, and how it misbehaves.

    `cuts`: number of answers to break off after `cut_at` bytes. `ranges`: obey Range.
    """

    body: bytes = b""
    status: int = 200
    location: str | None = None
    cuts: int = 0
    cut_at: int = 0
    ranges: bool = True
    length: bool = True
    content_type: str = "application/octet-stream"
    etag: str | None = None
    requests: list[str | None] = field(default_factory=list)


class Server:
    """Serves `pages` on a free port of 127.0.0.1."""

    def __init__(self, certificate: Path | None = None) -> None:
        """Speak http, or https with a certificate and its key in one file."""
        self.pages: dict[str, Page] = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = owner.pages.get(self.path)
                if page is None:
                    self.send_error(404)
                    return
                wanted = self.headers.get("Range")
                page.requests.append(wanted)
                if page.status != 200:
                    self.send_response(page.status)
                    if page.location:
                        self.send_header("Location", page.location)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                start = 0
                same = self.headers.get("If-Range") in {None, page.etag}
                if wanted and page.ranges and same:
                    start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
                    if start >= len(page.body):
                        self.send_response(416)
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
                else:
                    self.send_response(200)
                self.send_header("Content-Type", page.content_type)
                if page.etag:
                    self.send_header("ETag", page.etag)
                body = page.body[start:]
                if page.length:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if page.cuts > 0:
                    page.cuts -= 1
                    self.wfile.write(body[: page.cut_at])
                    self.wfile.flush()
                    self.close_connection = True
                    return
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing: clients that hang up are part of the tests."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.base = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def sha256(data: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(data).hexdigest()


def registry_of(
    data: bytes, *sources: Source | str, root: Path = Path(), name: str = "g/file.bin"
) -> Registry:
    """A registry of one file with these bytes and sources (texts are addresses)."""
    entry = Entry(
        name=name,
        sha256=sha256(data),
        size=len(data),
        sources=tuple(HttpsSource(s) if isinstance(s, str) else s for s in sources),
    )
    return Registry({name: entry}, root)


def files_below(folder: Path) -> list[str]:
    """Relative names of all files, locks aside."""
    return sorted(
        str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and ".locks" not in p.parts
    )
