"""Random sequences against a run, and faults planted in it that they must find: an attack that sees nothing proves nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .harness.driver import Attack
from .harness.sequences import harness
from .harness.toy import TARGETS, State

pytestmark = pytest.mark.timeout(0)  # as many as are asked for

SEQUENCES = int(os.environ.get("CMBFIT_FAULTS", "2"))
FIRST = int(os.environ.get("CMBFIT_FAULTS_FIRST", "0"))
CHAINS, BEGIN = TARGETS[:1], State()


def test_random_sequences_end_as_in_a_clean_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make faults N=500`: edits of configuration, data, arrays and code, kills, full disks, orphans, moves."""
    with harness(tmp_path) as attacked:
        for number in range(FIRST, FIRST + SEQUENCES):
            attacked.sequence(number, nested=number % 25 == 24)
            with capsys.disabled():
                if SEQUENCES > 2 and number % 10 == 9:
                    sys.stdout.write(f"{attacked.count}\n")
    assert attacked.count.kills > SEQUENCES
    assert not attacked.count.differences, attacked.count


def test_work_that_nobody_takes_in_goes_when_the_run_ends(tmp_path: Path) -> None:
    """More exact spectra, no room for them, and as before: the same spectra again, so that who takes them in has nothing to do."""
    exact = "results/toy/checks/emulator_mine.json"
    with harness(tmp_path, targets=(exact,)) as attacked:
        steps = (State(), Attack()), (State(draws=1), Attack(largest=500)), (State(), Attack())
        assert not attacked.attacked("run", steps), attacked.count
    assert attacked.count.full == 1


# faults, each planted in this process: its children have it too


def _hash_without(suffix: str) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        from cmbfit.provenance import uses

        whole = uses.Uses.hash

        def blind(self: Any) -> str:
            return whole(
                uses.Uses(self.modules, {k: v for k, v in self.files.items() if not k.endswith(suffix)})
            )

        patch.setattr(uses.Uses, "hash", blind)

    return plant


def _unkeyed(patch: pytest.MonkeyPatch) -> None:
    """One folder for all inputs, and nobody asks whose it is."""
    from cmbfit import checkpoint
    from cmbfit.inference import evidence, sampling

    for module in (evidence, sampling):
        patch.setattr(module, "own_folder", lambda root, _: Path(root) / "same")
    patch.setattr(checkpoint, "differences", lambda *_: [])


def _no_seed(patch: pytest.MonkeyPatch) -> None:
    """The folder's name leaves the seed out."""
    from cmbfit.inference import sampling

    named = sampling.own_folder
    patch.setattr(
        sampling, "own_folder", lambda root, x: named(root, {k: v for k, v in x.items() if k != "seed"})
    )


def _section_by_name(patch: pytest.MonkeyPatch) -> None:
    """A rule's parameter is a path that does not change with what the file says."""
    from pipeline.sections import Sections

    def remember(self: Sections, name: str, value: Any, suffix: str) -> str:
        path = f"{self.folder}/{name}.{suffix}"
        self._values[path] = value
        return path

    patch.setattr(Sections, "_remember", remember)


def _sections_stay(patch: pytest.MonkeyPatch) -> None:
    from pipeline.sections import Sections

    write = Sections.write

    def keep(self: Sections) -> None:
        old = {p: p.read_bytes() for p in Path(self.folder).glob("*.json")}
        write(self)
        for path, raw in old.items():
            path.write_bytes(raw)

    patch.setattr(Sections, "write", keep)


def _not_atomic(patch: pytest.MonkeyPatch) -> None:
    """Checkpoints are written in place, a part after the other."""
    from cmbfit import checkpoint

    @contextlib.contextmanager
    def in_place(path: Path) -> Iterator[Any]:
        import io

        image = io.BytesIO()
        yield image
        with Path(path).open("wb") as f:
            f.write(image.getvalue()[:100])
            f.flush()
            time.sleep(2e-3)
            f.write(image.getvalue()[100:])

    patch.setattr(checkpoint, "atomic_buffer", in_place)


def _leftovers_stay(patch: pytest.MonkeyPatch) -> None:
    from cmbfit import leftovers

    patch.setattr(leftovers, "_sweep", lambda *_: None)


def _checkpoint_goes_early(patch: pytest.MonkeyPatch) -> None:
    """Before the chain that it made is published."""
    from cmbfit.inference import sampling

    write = sampling.write_chain

    def early(path: Path, *words: Any) -> None:
        shutil.rmtree(Path(path).parents[1] / "checkpoints" / Path(path).stem)
        write(path, *words)

    patch.setattr(sampling, "write_chain", early)


def _random_state_is_lost(patch: pytest.MonkeyPatch) -> None:
    """A resumed chain draws the numbers of its beginning again."""
    from cmbfit.inference.chain_store import ChainStore

    append, first = ChainStore.append, {}

    def forget(self: ChainStore, index: int, block: Any) -> None:
        block.state = first.setdefault(self.folder, block.state)
        append(self, index, block)

    patch.setattr(ChainStore, "append", forget)


def _full_disk_is_untyped(patch: pytest.MonkeyPatch) -> None:
    import cmbfit.io as files

    def raw(path: Path, error: OSError) -> OSError:
        return OSError(error.errno, str(error))

    patch.setattr(files, "unwritable", raw)


def _record_of_another_file(patch: pytest.MonkeyPatch) -> None:
    """The record is written before its product."""
    from cmbfit.inference import sampling
    from cmbfit.io import publish_record

    write = sampling.write_chain

    def first(path: Path, chain: Any, record: Any) -> None:
        write(path, chain, {**record, "seed": 0})
        publish_record(path)
        write(path, chain, record)

    patch.setattr(sampling, "write_chain", first)
    patch.setattr(sampling, "publish_record", lambda *_, **__: None)


@dataclass(frozen=True)
class Fault:
    """A fault, and what finds it.

    Attributes
    ----------
    plant : callable
    edit : State
        The last state, after a run of the first.
    who : str
        Who is killed meanwhile; nobody if empty.
    first : State
    targets : sequence of str
    found : str
        In what is reported.
    """

    plant: Callable[[pytest.MonkeyPatch], None]
    found: str
    edit: State = BEGIN
    who: str = ""
    first: State = BEGIN
    targets: Sequence[str] = CHAINS
    hazard: float = 0.1
    largest: int | None = None


FAULTS = {
    "an array outside the hash": Fault(_hash_without(".npy"), "chains/mine", State(array=1)),
    "the user's code outside the hash": Fault(_hash_without(".py"), "chains/mine", State(code=1)),
    "a description outside the hash": Fault(_hash_without(".yaml"), "chains/mine", State(mean=1)),
    "a parameter that its rule does not see": Fault(_section_by_name, "chains/mine", State(prior=1)),
    "sections of an earlier configuration": Fault(_sections_stay, "config/fit.mine", State(walkers=1)),
    "a record of another file": Fault(_record_of_another_file, "describes another"),
    "a full disk without a type": Fault(_full_disk_is_untyped, "OSError", largest=3000),
    "unkeyed chains": Fault(_unkeyed, "", State(array=1), "stage"),
    "unkeyed evidences": Fault(
        _unkeyed,
        "",
        State(evidence=1, array=1),
        "machine",
        State(evidence=1),
        ("results/toy/evidence/tilted.json",),
    ),
    "the seed outside the identity": Fault(_no_seed, "seed", State(seed=1), "stage"),
    "a checkpoint written in place": Fault(_not_atomic, "damaged", who="stage", hazard=0.2),
    "leftovers of killed writers": Fault(_leftovers_stay, "a leftover", who="stage", hazard=0.03),
    "a checkpoint removed too early": Fault(_checkpoint_goes_early, "unfinished work was lost", who="stage"),
    "a random state that is not kept": Fault(_random_state_is_lost, "chains/mine", who="stage"),
}
FAST = {"an array outside the hash", "a full disk without a type"}


def _attacks(fault: Fault, seed: int) -> Iterator[tuple[State, Attack]]:
    if fault.largest is not None:
        yield fault.first, Attack(largest=fault.largest)
    elif not fault.who:
        yield fault.first, Attack()
    else:
        for i in range(3):
            yield fault.first, Attack(fault.who, fault.hazard, seed=10 * seed + i)
    yield fault.edit, Attack()


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=() if x in FAST else pytest.mark.slow) for x in FAULTS]
)
def test_a_planted_fault_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In a few sequences of three kills and an edit; the same sequences without the fault find nothing."""
    fault = FAULTS[name]
    with harness(tmp_path / "whole", targets=fault.targets) as whole:
        assert not whole.attacked("first", _attacks(fault, 0)), whole.count
    fault.plant(monkeypatch)
    with harness(tmp_path / "planted", targets=fault.targets) as planted:
        planted.take_oracles_from(whole)
        found: list[str] = []
        for seed in range(20):
            found = planted.attacked(f"run{seed}", _attacks(fault, seed))
            if found:
                break
    assert found, f"nothing was found: {planted.count}"
    assert any(fault.found in x for x in found), found
