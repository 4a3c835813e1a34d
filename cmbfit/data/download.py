"""One checked download: https only, resumable, and published only when the sha256 fits.

pip and its like hash well but do not resume a file of two gigabytes, so the streaming is
done here, on requests.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
import urllib3
from requests.adapters import HTTPAdapter
from tqdm import tqdm

import cmbfit
from cmbfit.data.digest import digest_mismatch, refuse_other_than_file
from cmbfit.data.shared import locked, make_folder, share, typed
from cmbfit.errors import ChecksumError, DownloadError
from cmbfit.io import unwritable

log = logging.getLogger("cmbfit.data")

_CHUNK = 1 << 16
_TIMEOUT = (15.0, 60.0)  # connect, silence between two reads [s]
_HEADERS = 120.0  # for all of an answer's headers, redirects included [s]
_SLOW = (1024.0, 60.0)  # less than so many bytes per second over so many seconds is no download
_BACKOFF_MAX = 30.0
_PROGRESS = 1 << 20  # bytes after which an interrupted attempt counts as a fresh start
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpsSession(requests.Session):
    """A session without any way to speak plain http, be it by address or by redirect.

    Parameters
    ----------
    allow_insecure_loopback : bool
        Also speak http to 127.0.0.1: for tests with a local server.
    """

    def __init__(self, *, allow_insecure_loopback: bool = False) -> None:
        super().__init__()
        del self.adapters["http://"]
        if allow_insecure_loopback:
            self.mount("http://127.0.0.1:", HTTPAdapter())
        self.max_redirects = 5
        self.headers["User-Agent"] = f"cmbfit/{cmbfit.__version__}"
        # A server that compresses on the fly would make offsets and sizes meaningless.
        self.headers["Accept-Encoding"] = "identity"


class _Interrupted(Exception):  # noqa: N818 (a state, not an error of ours)
    """The attempt failed in a way that another one may cure; `wait` is the server's wish [s]."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def _answer(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Return the server's answer, its body unread.

    A server that sends a byte of its headers a minute never meets the timeout between two reads: hence a
    thread, left behind when the time is over.
    """
    got: list[requests.Response | requests.exceptions.RequestException] = []

    def ask() -> None:
        try:
            got.append(session.get(url, headers=headers, stream=True, timeout=_TIMEOUT))
        except requests.exceptions.RequestException as error:
            got.append(error)
        except (
            ValueError,
            urllib3.exceptions.HTTPError,
        ) as error:  # a header or a redirect that cannot be read
            got.append(requests.exceptions.RequestException(f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_HEADERS)
    if not got:
        raise _Interrupted(f"no whole answer within {_HEADERS:.0f} s")
    if isinstance(got[0], requests.exceptions.RequestException):
        raise got[0]
    return got[0]


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield a body's bytes as they come; give up on a server that only drips."""
    least, seconds = _SLOW
    since, n = time.monotonic(), 0
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            yield chunk
            n += len(chunk)
            if (past := time.monotonic() - since) > seconds:
                if n < least * past:
                    raise _Interrupted(f"the server sent {n} bytes in {past:.0f} s")
                since, n = time.monotonic(), 0
    except urllib3.exceptions.HTTPError as error:
        raise _Interrupted(f"{type(error).__name__}: {_no_address(error)}") from error


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return min(float(value), _BACKOFF_MAX) if value.isdigit() else None


def _start(response: requests.Response, offset: int, size: int | None, what: str) -> int:
    """Check an answer's status and length; return the offset at which its body starts."""
    status = response.status_code
    if status in _RETRY_STATUS:
        raise _Interrupted(f"HTTP status {status}", _retry_after(response))
    if status not in (200, 206):
        raise DownloadError(f"{what}: HTTP status {status} {response.reason}")
    start = 0
    total = response.headers.get("Content-Length")
    if status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            raise DownloadError(
                f"{what}: asked for bytes from {offset}, got {response.headers.get('Content-Range')!r}"
            )
        start, total = offset, None if match[3] == "*" else match[3]
    if size is not None and total is not None and total.isdigit() and int(total) != size:
        raise DownloadError(f"{what}: expected {size} bytes, the server offers {total}")
    return start


def _total(response: requests.Response) -> int | None:
    """Return how long the whole file is by the server's word."""
    text = response.headers.get("Content-Range", "").rpartition("/")[2]
    text = text if response.status_code == 206 else response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _version(response: requests.Response) -> str:
    """Return the server's mark of this version of a file, empty where it gives none that If-Range may name."""
    mark = response.headers.get("ETag", "")
    mark = "" if mark.startswith("W/") else mark
    mark = mark or response.headers.get("Last-Modified", "")
    return mark if mark.isascii() else ""


def _attempt(
    session: requests.Session,
    url: str,
    part: Path,
    *,
    what: str,
    size: int | None,
    limit: int,
    progress: bool,
    tag: Path | None = None,
) -> None:
    """Bring `part` forward, from where it stands to the end if all goes well.

    `tag` holds the server's mark of the version that `part` is of, for files whose sum nobody knows: without it, or when
    the server has another version now (If-Range), the download starts anew.
    """
    known = tag.read_text(encoding="ascii") if tag is not None and tag.exists() else ""
    if tag is not None and not known:
        part.unlink(missing_ok=True)
    offset = part.stat().st_size if part.exists() else 0
    if size is not None and offset == size:
        return  # complete, but the process ended before the check
    headers = {"Range": f"bytes={offset}-"} | ({"If-Range": known} if known else {}) if offset else {}
    try:
        with _answer(session, url, headers) as response:
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                raise _Interrupted("the server cannot resume; starting anew", 0.0)
            start = _start(response, offset, size, what)
            if size is None:
                size = _total(response)
            if tag is not None:
                tag.write_text(_version(response), encoding="ascii")
            bar = tqdm(
                total=size,
                initial=start,
                unit="B",
                unit_scale=True,
                desc=part.name.removesuffix(".part"),
                disable=None if progress else True,  # None: shown on a terminal only
            )
            with part.open("ab" if start else "wb") as out, bar:
                share(part)  # another user may go on with it
                written = start
                for chunk in _chunks(response):
                    written += len(chunk)
                    if written > limit:
                        part.unlink(missing_ok=True)
                        raise DownloadError(f"{what}: the server sends more than the expected {limit} bytes")
                    out.write(chunk)
                    bar.update(len(chunk))
    except (requests.exceptions.InvalidSchema, requests.exceptions.TooManyRedirects) as error:
        raise DownloadError(
            f"{what}: refused: only https is spoken, and 5 redirects are followed at most"
        ) from error
    except requests.exceptions.SSLError as error:
        raise DownloadError(f"{what}: the server's certificate is not accepted: {error}") from error
    except requests.exceptions.RequestException as error:
        raise _Interrupted(f"{type(error).__name__}: {_no_address(error)}") from error
    except OSError as error:  # the disk, not the network (whose errors are caught above)
        part.unlink(missing_ok=True)
        raise unwritable(part, error) from error
    if size is not None and written < size:
        raise _Interrupted(f"the connection ended after {written} of {size} bytes")


def _no_address(error: BaseException) -> str:
    """Shorten a network error to its cause, without object addresses."""
    return re.sub(r"<[^>]* at 0x[0-9a-f]+>:?\s*", "", str(error))


def _kept(part: Path) -> str:
    """Remove an empty `.part`; say how much of a real one stays."""
    size = part.stat().st_size if part.exists() else 0
    if size == 0:
        part.unlink(missing_ok=True)
        return ""
    return f"; {size} bytes are kept and the next call resumes there"


def download(
    url: str,
    target: str | Path,
    *,
    sha256: str | None,
    size: int | None = None,
    md5: str | None = None,
    check: Callable[[Path], str | None] | None = None,
    progress: bool = True,
    retries: int = 3,
    backoff: float = 1.0,
    max_bytes: int = 1 << 30,
    label: str | None = None,
    allow_insecure_loopback: bool = False,
) -> Path:
    """Download `url` to `target` and return `target`, whose bytes are the expected ones.

    The bytes go to ``<target>.part`` and are renamed when size and sha256 fit. After a network
    failure the `.part` stays, and the next call resumes it (HTTP Range); after any other failure,
    a wrong checksum among them, nothing is left.

    Parameters
    ----------
    url : str
        An https address; redirects to anything else are refused.
    target : str or Path
        The final place. A file that is already there and right is kept.
    sha256, md5 : str or None
        Hexadecimal sums; md5 is checked in addition, if given. Without sha256 a part is resumed only where the server
        says that it still has the same version (ETag or Last-Modified).
    check : callable, optional
        Returns what is wrong with a whole download, before it is published.
    size : int, optional
        Exact length in bytes.
    progress : bool
        Show a progress bar (on a terminal).
    retries : int
        Further attempts after a failure of the network; an attempt that brought more than 1 MiB
        does not count.
    backoff : float
        Wait before the second attempt [s]; doubled each time, 30 s at most.
    max_bytes : int
        Upper limit where `size` is not known.
    label : str, optional
        What messages call the file instead of its address, which may hold a password.
    allow_insecure_loopback : bool
        Allow http to 127.0.0.1 (tests).

    Raises
    ------
    ChecksumError
        When the bytes are not the expected ones.
    DownloadError
        When they cannot be had.
    WriteError
        When the disk is full or the folder cannot be written.
    """
    target = Path(target)
    what = label or url
    make_folder(target.parent)
    part = target.with_name(target.name + ".part")
    tag = target.with_name(target.name + ".part.tag") if sha256 is None else None
    limit = size if size is not None else max_bytes
    with (
        locked(target),
        typed(target),
        HttpsSession(allow_insecure_loopback=allow_insecure_loopback) as session,
    ):
        for place in (target, part):
            refuse_other_than_file(place)
        if target.exists() and digest_mismatch(target, sha256=sha256, size=size, md5=md5) is None:
            return target  # another process was faster
        resumed = part.exists()
        # what another user began and nobody else may go on with is begun anew
        if resumed and (part.stat().st_size > limit or not os.access(part, os.W_OK)):
            part.unlink()
            resumed = False
        failures = 0
        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                _attempt(session, url, part, what=what, size=size, limit=limit, progress=progress, tag=tag)
            except _Interrupted as error:
                gained = (part.stat().st_size if part.exists() else 0) - before
                failures = 1 if gained >= _PROGRESS else failures + 1
                if failures > retries:
                    raise DownloadError(
                        f"{what}: no success in {failures} attempts, last: {error}{_kept(part)}"
                    ) from error
                wait = min(backoff * 2 ** (failures - 1), _BACKOFF_MAX) if error.wait is None else error.wait
                log.info("%s: %s; next attempt in %.0f s", what, error, wait)
                time.sleep(wait)
                continue
            wrong = digest_mismatch(part, sha256=sha256, size=size, md5=md5)
            if wrong is None and check is not None:
                wrong = check(part)
            if tag is not None:
                tag.unlink(missing_ok=True)
            if wrong is None:
                break
            part.unlink()
            if not resumed:
                raise ChecksumError(f"{what}: {wrong}; the file was removed")
            # The .part may stem from another version of the file: once more from the start.
            log.warning("%s: the resumed file is wrong (%s); downloading it anew", what, wrong)
            resumed = False
        with part.open("rb+") as f:
            os.fsync(f.fileno())
        share(part)
        part.replace(target)
    return target
