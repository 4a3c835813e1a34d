"""Every writer of the package and its stages on a disk that fills up: a typed error, nothing left, nothing lost."""

from __future__ import annotations

import ast
import atexit
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cmbfit.errors import WriteError
from tests.faults.test_disk import largest_file
from tests.faults.writers import WRITERS, elsewhere, sources, stray_writes, writing_functions

PAGE = 4096
DISK = 256  # pages
WRITES_ITSELF = {
    "cmbfit.io": "publishes",
    "cmbfit.leftovers": "opens what others left, to see whether anybody holds it: tests/faults/test_leftovers.py",
    "cmbfit.folders": "links files, and copies where links are not to be had: tests/cli/test_fit_folder.py",
    "cmbfit.inference.nested": "nautilus's own file, in the system's temporary folder; what is kept goes to the store",
    "cmbfit.theory.hawking.pbh": "a history that CLASS reads, in the system's temporary folder",
    "cmbfit.fit.secret": "made once, by a link that fails where there is one: tests/provenance/test_unblind.py",
    "cmbfit.data.download": "a download grows over many calls: tests/data/test_download.py",
}
COMPILED = {
    "cmbfit.inference.products:write_chain", "cmbfit.inference.exports:write_arviz", "cmbfit.sky.fits:_write",
    "cmbfit.spectra.product:_write", "cmbfit.likelihood.lite_files:_write_sacc", "cmbfit.theory.transfer.store:write_arrays",
}  # fmt: skip
"""Whose libraries write by themselves."""


def test_no_writer_is_forgotten() -> None:
    own = {name for name in WRITERS if name.startswith("cmbfit.io:")}
    assert writing_functions() == set(WRITERS) - own


def test_nothing_is_written_in_another_way() -> None:
    stray = {module: found for module, tree in sources().items() if (found := stray_writes(tree))}
    assert set(stray) <= set(WRITES_ITSELF), stray


@pytest.mark.parametrize(
    "code",
    [
        "path.write_text(x)", "path.open('wb')", "open(path, 'a')", "h5py.File(path, 'w')", "hdus.writeto(path)",
        "fig.savefig(path)", "np.savetxt(path, x)", "shutil.copy(a, path)", "zipfile.ZipFile(path, 'w')",
        "tarfile.open(path, 'w:gz')", "data.to_netcdf(path)", "np.save(path, x)", "path.open(mode='r+')",
    ],
)  # fmt: skip
def test_the_search_sees(code: str) -> None:
    assert stray_writes(ast.parse(f"def f(path):\n    with atomic_file(path) as g:\n        {code}")) == [
        ("f", 3)
    ]


@pytest.fixture(scope="module", autouse=True)
def _sources() -> Iterator[None]:
    yield
    shutil.rmtree(elsewhere())


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of a megabyte."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts file systems")
    place = tmp_path_factory.mktemp("disk")
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK * PAGE}", "tmpfs", str(place)]
    mounted = subprocess.run(words, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no mounting here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def sizes(folder: Path) -> dict[str, int]:
    return {
        str(p.relative_to(folder)): p.stat().st_size
        for p in folder.rglob("*")
        if p.is_file() and not p.is_symlink()
    }


@pytest.fixture
def whole(name: str) -> dict[str, int]:
    """The product on a disk that holds it: names and sizes."""
    return _whole(name)


@cache
def _whole(name: str) -> dict[str, int]:
    with TemporaryDirectory() as folder:
        WRITERS[name](Path(folder))
        return sizes(Path(folder))


def refuse(name: str, folder: Path, whole: dict[str, int]) -> None:
    """A typed error that names a file; each is what it was or whole, and there is no other."""
    with pytest.raises(WriteError, match=r"cannot be written: .*make room and run again") as caught:
        WRITERS[name](folder)
    assert any(Path(file).name in str(caught.value) for file in whole)
    there = sizes(folder)
    assert set(there) <= set(whole)
    # the record of a product and a clock in it may differ by a few characters
    assert all(abs(size - whole[file]) < 64 for file, size in there.items() if size != 3), there


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_size_limit(name: str, whole: dict[str, int], tmp_path: Path) -> None:
    largest = max(whole.values())
    for i, limit in enumerate((0, largest // 2, largest - 64)):
        folder = tmp_path / str(i)
        # a store refuses pieces that do not say whose they are
        for file in whole if i and "identity.json" not in whole else ():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text("old")
        folder.mkdir(exist_ok=True)
        with largest_file(limit):
            refuse(name, folder, whole)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(name: str, whole: dict[str, int], disk: Path) -> None:
    """No room at all, room for half of it, and for all but a page."""
    pages = sum(-(-size // PAGE) for size in whole.values())
    assert 2 <= pages < DISK
    for room in sorted({0, pages // 2, pages - 1}):
        folder = disk / "x"
        folder.mkdir()
        filler = disk / "filler"
        try:
            with filler.open("wb") as f, contextlib.suppress(OSError):
                f.write(bytes((DISK - room) * PAGE))
            free = os.statvfs(disk).f_bavail
            refuse(name, folder, whole)
            assert os.statvfs(disk).f_bavail >= free - sum(-(-s // PAGE) for s in sizes(folder).values())
        finally:
            shutil.rmtree(folder)
            for path in disk.iterdir():
                path.unlink()


@pytest.mark.parametrize(
    "name", [n if n in COMPILED else pytest.param(n, marks=pytest.mark.slow) for n in WRITERS]
)
def test_the_process_ends_well(name: str, whole: dict[str, int], tmp_path: Path) -> None:
    """No library is left in a state that it does not survive: a child writes, fails and goes through its exit."""
    folder = tmp_path / "limited"
    folder.mkdir()
    child = os.fork()
    if child == 0:
        code = 3
        try:
            with largest_file(max(whole.values()) // 2):
                WRITERS[name](folder)
        except WriteError:
            atexit._run_exitfuncs()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
