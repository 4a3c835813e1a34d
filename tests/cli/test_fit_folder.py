"""What ``cmbfit fit -o DIR`` replaces in a folder, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import getdist
import numpy as np
import pytest

from cmbfit.cli.sampling import _alone, _in_parallel, _names_of
from cmbfit.errors import DataError, KilledError, WriteError
from cmbfit.folders import Products, atomic_folder
from cmbfit.inference.exports import getdist_files, publish_getdist
from cmbfit.inference.products import Samples, read_chain
from tests.conftest import ROOT

# GetDist 1.7 asks Matplotlib 3.11 for an attribute that 3.13 will not have
pytestmark = pytest.mark.filterwarnings("default::matplotlib.MatplotlibDeprecationWarning")

PLACES = ["", "chains", "chains/getdist/a", "figures", "report"]


def samples(mean: float, ensembles: int) -> Samples:
    rng = np.random.default_rng(1)
    values = [mean + rng.standard_normal((500, 2)) for _ in range(ensembles)]
    return Samples(("x", "y"), values, [np.zeros(500)] * ensembles, 2, {})


def read(root: Path) -> getdist.MCSamples:
    return getdist.loadMCSamples(str(root), settings={"ignore_rows": 0}, no_cache=True)


def test_getdist_reads_one_fit_after_a_larger_one(tmp_path: Path) -> None:
    """Three chains around 0, then two around 10: GetDist's mean is 10, and the user's notes are still there."""
    root = tmp_path / "getdist" / "a" / "a"
    publish_getdist(root, samples(0, 3))
    (root.parent / "notes.md").write_text("mine", encoding="utf-8")
    (root.parent / "mine").mkdir()
    (root.parent / "mine" / "a.3.txt").write_text("mine", encoding="utf-8")
    publish_getdist(root, samples(10, 2))
    got = read(root)
    assert got.numrows == 1000
    assert got.mean("x") == pytest.approx(10, abs=5 / np.sqrt(1000))
    assert sorted(p.name for p in root.parent.iterdir()) == [
        "a.1.txt", "a.2.txt", "a.paramnames", "a.ranges", "mine", "notes.md",
    ]  # fmt: skip
    assert (root.parent / "mine" / "a.3.txt").read_text(encoding="utf-8") == "mine"
    assert [p.name for p in root.parent.parent.iterdir()] == ["a"]


def test_a_folder_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    """A process that is killed at any moment of the exchange leaves one of the two, whole: 12 kills."""
    code = (
        "import itertools, sys\n"
        "from pathlib import Path\n"
        "from cmbfit.folders import atomic_folder\n"
        "print('ready', flush=True)\n"
        "for i in itertools.count(1):\n"
        "    with atomic_folder(Path(sys.argv[1]), str.isdecimal) as tmp:\n"
        "        for k in range(1 + i % 3):\n"
        "            (tmp / str(k)).write_text(str(i))\n"
    )
    place = tmp_path / "x"
    rng = np.random.default_rng(7)
    with atomic_folder(place, str.isdecimal) as tmp:
        (tmp / "0").write_text("0")
    (place / "mine.txt").write_text("mine", encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(place)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    seen = set()
    for _ in range(12):
        time.sleep(float(rng.uniform(0.001, 0.01)))
        os.kill(process.pid, signal.SIGSTOP)  # what a reader would find now is what a kill would leave
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.0005)
        found = {p.name: p.read_text() for p in place.iterdir()}
        assert found.pop("mine.txt") == "mine"
        (number,) = set(found.values())
        assert len(found) == 1 + int(number) % 3
        seen.add(number)
        os.kill(process.pid, signal.SIGCONT)
    process.kill()
    process.communicate()
    assert len(seen) > 3


def test_a_write_that_fails_leaves_the_folder(tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.mkdir()
    (place / "old").touch()

    def fails() -> None:
        with atomic_folder(place, lambda _: True) as tmp:
            (tmp / "new").touch()
            raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        fails()
    assert [p.name for p in tmp_path.rglob("*")] == ["x", "old"]
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match="expected the name of a folder"),
        atomic_folder(tmp_path / "file", bool),
    ):
        pass


def tree(folder: Path, names: list[str], text: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def products(ensembles: int, *more: str) -> list[str]:
    """Names as a fit `a` writes them: GetDist counts chains from 1, the ensembles from 0."""
    numbered = [
        name
        for i in range(ensembles)
        for name in (
            f"chains/a.ensemble{i}.h5",
            f"chains/a.ensemble{i}.h5.json",
            f"chains/getdist/a/a.{i + 1}.txt",
        )
    ]
    return [*numbered, "chains/getdist/a/a.paramnames", "chains/a.samples.h5", "summary.json", *more]


def publish(folder: Path, ensembles: int, text: str, *more: str) -> list[str]:
    said: list[str] = []
    place = Products(folder, "chains/*.products.json", "chains/a.products.json")
    place.refuse_foreign(PLACES, _names_of("a"))
    new = tree(folder / "checkpoints" / "new", products(ensembles, *more), text)
    place.publish(new, {"chains/getdist/a": getdist_files("a")}, said.append)
    return said


def files(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8")
        for p in folder.rglob("*")
        if p.is_file() and not p.name.endswith(".products.json")
    }


def test_a_smaller_fit_leaves_nothing_of_a_larger_one(tmp_path: Path) -> None:
    """Ensembles, chains and figures of before go; the user's files and another fit's stay."""
    assert publish(tmp_path, 3, "old", "figures/primordial_a.png") == []
    mine = ["notes.md", "chains/b.ensemble2.h5", "chains/getdist/a/a.txt.bak", "figures/primordial_b_a.png"]
    tree(tmp_path, mine, "mine")
    assert publish(tmp_path, 2, "new") == []
    assert files(tmp_path) == {**dict.fromkeys(products(2), "new"), **dict.fromkeys(mine, "mine")}


def test_a_file_of_the_users_is_not_overwritten(tmp_path: Path) -> None:
    """One that lay there before is refused at once, before hours of sampling; one that was edited since is kept aside."""
    tree(tmp_path, ["summary.json", "chains/getdist/a/a.4.txt"], "mine")
    with pytest.raises(DataError, match=r"chains/getdist/a/a\.4\.txt, summary\.json: would be replaced"):
        publish(tmp_path, 2, "new")
    assert files(tmp_path) == {"summary.json": "mine", "chains/getdist/a/a.4.txt": "mine"}
    other = tmp_path / "other"
    publish(other, 3, "old")
    tree(other, ["summary.json", "chains/getdist/a/a.3.txt"], "edited")
    said = publish(other, 2, "new")
    assert len(said) == 2
    assert "summary.json was altered since it was written: kept as summary.json.kept" in "".join(said)
    kept = {"summary.json.kept": "edited", "chains/getdist/a/a.3.txt.kept": "edited"}
    assert files(other) == {**dict.fromkeys(products(2), "new"), **kept}


def test_a_publication_cut_short_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, 3, "old")

    def cut(path: Path, missing_ok: bool = False) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", cut)
        with pytest.raises(KeyboardInterrupt):
            publish(tmp_path, 1, "new")
    publish(tmp_path, 2, "newer")
    assert files(tmp_path) == dict.fromkeys(products(2), "newer")


def test_two_runs_of_one_fit_in_one_folder_are_refused(tmp_path: Path) -> None:
    with (
        _alone(tmp_path / "checkpoints" / "a.lock"),
        pytest.raises(WriteError, match="another process runs this fit here"),
        _alone(tmp_path / "checkpoints" / "a.lock"),
    ):
        pass
    with _alone(tmp_path / "checkpoints" / "a.lock"):
        pass


def test_a_killed_process_is_named() -> None:
    with pytest.raises(
        KilledError, match=r"a process that samples was killed.*goes on from the last checkpoint"
    ):
        _in_parallel(signal.raise_signal, [(signal.SIGKILL,)])


def command(folder: Path, ensembles: int) -> list[str]:
    given = {
        "ensembles": ensembles,
        "sampler": "{walkers: 16, block_steps: 100, tau_multiple: 5, tau_rtol: 10}",
    }
    words = [w for key, x in given.items() for w in ("--config", f"fits.lcdm_planck2018.{key}={x}")]
    return [
        sys.executable,
        "-c",
        "from cmbfit.cli.app import main; main()",
        "fit",
        "default",
        "-o",
        str(folder),
        *words,
    ]


@pytest.mark.slow
def test_a_killed_fit_goes_on_from_all_its_chains_and_replaces_a_larger_one(tmp_path: Path) -> None:
    """Three ensembles; then two with another seed, killed after the first has ended: it is not sampled again."""
    name, folder = "lcdm_planck2018", tmp_path / "out"
    first = subprocess.run(command(folder, 3), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert first.returncode in (0, 1), first.stderr[-3000:]  # checks of so short a chain may fail
    assert not (folder / "checkpoints").exists()
    before = read_chain(folder / f"chains/{name}.ensemble0.h5")[0]
    (folder / "notes.md").write_text("mine", encoding="utf-8")
    changed = [*command(folder, 2), "--config", "run.seed=7"]
    run = subprocess.Popen(
        changed, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list((folder / "checkpoints").glob("*.new/chains/*.h5")):
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    np.testing.assert_array_equal(
        read_chain(folder / f"chains/{name}.ensemble0.h5")[0].samples, before.samples
    )
    again = subprocess.run(changed, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode in (0, 1), again.stderr[-3000:]
    chains = [read_chain(folder / f"chains/{name}.ensemble{i}.h5")[0] for i in range(2)]
    assert min(c.evaluations for c in chains) == 0
    assert not np.array_equal(chains[0].samples, before.samples)
    assert not (folder / f"chains/{name}.ensemble2.h5").exists()
    assert sorted(p.name for p in (folder / f"chains/getdist/{name}").glob("*.txt")) == [
        f"{name}.1.txt",
        f"{name}.2.txt",
    ]
    assert (folder / "notes.md").read_text(encoding="utf-8") == "mine"
    assert not (folder / "checkpoints").exists()


@pytest.mark.slow
def test_a_fit_whose_sampler_was_killed_says_so_and_goes_on(tmp_path: Path) -> None:
    """A process of the pool is killed, as the kernel does when memory runs out, not the command: it ends with exit code 2."""
    folder, name = tmp_path / "out", "lcdm_planck2018.ensemble0"
    run = subprocess.Popen(
        command(folder, 1), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 300
    while not (steps := list((folder / "checkpoints" / name).rglob("[!.]*.npz"))):  # whole ones
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.005)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    # multiprocessing has a process of its own beside, which tracks resources
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
    (worker,) = (pid for pid, text in commands.items() if "spawn_main" in text)
    os.kill(worker, signal.SIGKILL)
    _, said = run.communicate()
    assert run.returncode == 2
    assert b"a process that samples was killed" in said
    assert b"Traceback" not in said
    assert all(path.exists() for path in steps)
    again = subprocess.run(command(folder, 1), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode in (0, 1), again.stderr[-3000:]
    whole = subprocess.run(
        command(tmp_path / "whole", 1), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert whole.returncode in (0, 1), whole.stderr[-3000:]
    got, want = (read_chain(root / f"chains/{name}.h5")[0] for root in (folder, tmp_path / "whole"))
    np.testing.assert_array_equal(got.samples, want.samples)
    assert got.evaluations < want.evaluations
