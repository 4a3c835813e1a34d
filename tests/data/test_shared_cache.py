"""One cache, two users: real user ids, whatever the first one's umask was."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmbfit import data, errors
from cmbfit.data.download import download
from cmbfit.data.model import EmbeddedSource, Registry
from cmbfit.errors import WriteError
from tests.data.helpers import Page, Server, files_below, registry_of, sha256

FIRST, SECOND = 64001, 64002
GROUP = 64010
BODY = bytes(range(256)) * 300
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")


def as_user(uid: int, action: Callable[[], Any], *, umask: int = 0o022, group: bool = True) -> Any:
    """Return what `action` returns in a process of this user, or raise what it raises."""
    get, put = os.pipe()
    child = os.fork()
    if child == 0:
        answer: list[Any]
        try:
            os.setgroups([GROUP] if group else [])
            os.setgid(uid)
            os.setuid(uid)
            os.umask(umask)
            value = action()
            answer = [
                None,
                value if isinstance(value, bool) else os.fspath(value) if value is not None else None,
            ]
        except BaseException as error:  # noqa: BLE001 (carried to the test)
            answer = [type(error).__name__, str(error)]
        os.write(put, json.dumps(answer).encode())
        os._exit(0)
    os.close(put)
    with os.fdopen(get, "rb") as f:
        failed, value = json.loads(f.read())
    os.waitpid(child, 0)
    if failed is not None:
        raise getattr(errors, failed, RuntimeError)(value)
    return value


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that all may enter, unlike pytest's own, with a cache and each user's home in it."""
    folder = Path(tempfile.mkdtemp(prefix="cmbfit-shared-"))
    folder.chmod(0o755)
    (folder / "cache").mkdir()
    for uid in (FIRST, SECOND):
        (folder / str(uid)).mkdir()
        os.chown(folder / str(uid), uid, uid)
    monkeypatch.setenv("CMBFIT_CACHE", str(folder / "cache"))
    yield folder
    shutil.rmtree(folder)


def of_the_group(folder: Path, mode: int = 0o2775) -> Path:
    os.chown(folder, FIRST, GROUP)
    folder.chmod(mode)
    return folder


def fetched(uid: int, place: Path, registry: Registry, **how: Any) -> Path:
    def act() -> str:
        os.environ["XDG_CACHE_HOME"] = str(place / str(uid))
        path = data.fetch("g/file.bin", registry=registry, progress=False, allow_insecure_loopback=True)
        assert path.read_bytes() == BODY
        return str(path)

    return Path(as_user(uid, act, **how))


@pytest.fixture(params=["https", "embedded"])
def registry(request: pytest.FixtureRequest, server: Server, place: Path) -> Registry:
    server.pages["/f.bin"] = Page(BODY)
    (place / "f.xz").write_bytes(lzma.compress(BODY))
    source = server.base + "/f.bin" if request.param == "https" else EmbeddedSource("f.xz")
    return registry_of(BODY, source, root=place)


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("mode", [0o2775, 0o2770, 0o775])
def test_a_cache_of_a_group(place: Path, registry: Registry, umask: int, mode: int) -> None:
    """The second user reads, replaces and adds what the first one's umask would have closed."""
    cache = of_the_group(place / "cache", mode)
    target = cache / "g" / "file.bin"
    assert fetched(FIRST, place, registry, umask=umask) == target
    assert fetched(SECOND, place, registry, umask=umask) == target
    target.write_bytes(b"altered")
    assert fetched(SECOND, place, registry, umask=umask) == target
    assert target.stat().st_uid == SECOND
    assert fetched(FIRST, place, registry, umask=umask) == target
    for path in (cache / "g", target):
        assert path.stat().st_gid == GROUP
        assert path.stat().st_mode & 0o060 == 0o060
    # nobody gets more than the folder gives
    if mode == 0o2770:
        assert as_user(SECOND, lambda: os.access(target, os.R_OK), group=False) is False


def test_a_cache_that_is_only_read_serves(place: Path, registry: Registry) -> None:
    target = fetched(FIRST, place, registry, umask=0o022) if _own(place / "cache", FIRST) else None
    assert target == place / "cache" / "g" / "file.bin"
    before = sorted(place.rglob("cache/**/*"))
    assert fetched(SECOND, place, registry) == target
    assert sorted(place.rglob("cache/**/*")) == before


@pytest.mark.parametrize("state", ["absent", "altered", "closed", "folder closed"])
def test_what_a_read_only_cache_lacks_goes_to_ones_own(place: Path, registry: Registry, state: str) -> None:
    """Others' folders (0755): absent, altered or closed files are had again, beside them."""
    _own(place / "cache", FIRST)
    target = place / "cache" / "g" / "file.bin"
    if state != "absent":
        fetched(FIRST, place, registry)
    if state == "altered":
        target.write_bytes(b"altered")
    if state == "closed":
        target.chmod(0o600)
    if state == "folder closed":
        target.parent.chmod(0o700)
    before = {p: p.stat().st_mtime_ns for p in (place / "cache").rglob("*")}
    own = place / str(SECOND) / "cmbfit" / "g" / "file.bin"
    assert fetched(SECOND, place, registry) == own
    assert fetched(SECOND, place, registry) == own
    assert {p: p.stat().st_mtime_ns for p in (place / "cache").rglob("*")} == before


def test_no_place_at_all_is_named(place: Path, registry: Registry) -> None:
    _own(place / "cache", FIRST)
    (place / str(SECOND)).chmod(0o555)
    (place / str(SECOND)).chmod(0o555)
    os.chown(place / str(SECOND), FIRST, FIRST)
    with pytest.raises(
        WriteError, match=r"cannot be written: .*Permission denied.*CMBFIT_CACHE names another"
    ):
        fetched(SECOND, place, registry)


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o000])
def test_locks_that_another_made(place: Path, server: Server, mode: int) -> None:
    """As older versions left them in a group's folder: readable ones are taken, others refused by name."""
    server.pages["/f.bin"] = Page(BODY)
    folder = of_the_group(place / "cache")
    lock = folder / ".locks" / "f.bin.lock"
    lock.parent.mkdir()
    of_the_group(lock.parent, 0o755)  # the second user cannot make locks of its own here
    lock.touch()
    os.chown(lock, FIRST, GROUP)
    lock.chmod(mode)

    def act() -> None:
        download(
            server.base + "/f.bin", folder / "f.bin", sha256=sha256(BODY), size=len(BODY), progress=False,
            allow_insecure_loopback=True,
        )  # fmt: skip

    if mode == 0o644:
        as_user(SECOND, act)
        assert files_below(folder) == ["f.bin"]
    else:
        with pytest.raises(WriteError, match=r"f\.bin: cannot be written: .*f\.bin\.lock.*folder writable"):
            as_user(SECOND, act)
        assert files_below(folder) == []


@pytest.mark.parametrize("mode", [0o664, 0o644])
def test_what_another_began_is_gone_on_with_or_begun_anew(place: Path, server: Server, mode: int) -> None:
    server.pages["/f.bin"] = page = Page(BODY)
    folder = of_the_group(place / "cache")
    part = folder / "f.bin.part"
    part.write_bytes(BODY[:1000])
    os.chown(part, FIRST, GROUP)
    part.chmod(mode)

    def act() -> None:
        download(
            server.base + "/f.bin", folder / "f.bin", sha256=sha256(BODY), size=len(BODY), progress=False,
            allow_insecure_loopback=True,
        )  # fmt: skip

    as_user(SECOND, act)
    assert files_below(folder) == ["f.bin"]
    assert page.requests == (["bytes=1000-"] if mode == 0o664 else [None])


def test_a_folder_for_all_gives_nothing_away(place: Path, server: Server) -> None:
    """Below a folder like /tmp (sticky) a cache is its maker's."""
    server.pages["/f.bin"] = Page(BODY)
    (place / "cache").chmod(0o1777)
    fetched(FIRST, place, registry_of(BODY, server.base + "/f.bin"))
    assert stat.S_IMODE((place / "cache" / "g").stat().st_mode) == 0o755
    assert stat.S_IMODE((place / "cache" / "g" / "file.bin").stat().st_mode) == 0o644


def _own(folder: Path, uid: int) -> bool:
    os.chown(folder, uid, uid)
    folder.chmod(0o755)
    return True
