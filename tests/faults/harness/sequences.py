"""Random sequences of edits, kills, full disks, orphans and moves, each held against a run of its last state in a clean folder."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.workflow.loaded import kept

from .driver import Attack, Plan, Running, Told, plan
from .products import against, products
from .toy import RUN, TARGETS, State, make_cheap, warm


@dataclass
class Count:
    """What was done, and what was found."""

    sequences: int = 0
    runs: int = 0
    edits: int = 0
    kills: int = 0
    orphans: int = 0
    full: int = 0
    moves: int = 0
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.sequences} sequences, {self.runs} runs, {self.edits} edits, {self.kills} kills, {self.orphans} orphans "
            f"beside another run, {self.full} jobs ended by a full disk, {self.moves} moves: "
            f"{len(self.differences)} differences"
        )


class Harness:
    """One attacked run at a time.

    Parameters
    ----------
    place : Path
        Where runs lie.
    snakefile : Path
        Whose rules make the jobs.
    targets : sequence of str
        Products that are asked for.
    """

    def __init__(
        self, place: Path, snakefile: Path = ROOT / "Snakefile", targets: Sequence[str] = TARGETS
    ) -> None:
        self.place, self.snakefile, self.targets, self.count = place, snakefile, targets, Count()
        self._plans: dict[State, Plan] = {}
        self._wanted: dict[State, dict[str, Any]] = {}

    def plan(self, state: State, folder: Path) -> Plan:
        """Return the jobs of a state whose files are in a folder: the same in any."""
        if state not in self._plans:
            self._plans[state] = plan(folder, self.snakefile, self.targets)
        return self._plans[state]

    def wanted(self, state: State) -> dict[str, Any]:
        """Return the products of a state, run in a clean folder and never disturbed."""
        if state not in self._wanted:
            with tempfile.TemporaryDirectory(dir=self.place) as name:
                folder = Path(name)
                state.write(folder)
                running = Running(folder, self.plan(state, folder), Attack())
                running.wait()
                told = running.wait_for_all()
                assert told.done, told
                self._wanted[state] = products(folder)
        return self._wanted[state]

    def take_oracles_from(self, other: Harness) -> None:
        """Hold runs against the products of a harness in which no fault was planted."""
        self._wanted = other._wanted

    def sequence(self, seed: int, *, runs: int = 5, nested: bool = False) -> list[str]:
        """Run one random sequence; return the differences at its end."""
        return self.attacked(f"run{seed}", self._steps(random.Random(seed), runs, nested))  # noqa: S311

    def attacked(self, name: str, steps: Iterable[tuple[State, Attack]]) -> list[str]:
        """Run each step and then its last state undisturbed; return what differs from a clean folder's products.

        Parameters
        ----------
        name : str
            Of the run's folder; where nothing differs, it is removed.
        steps : iterable of (State, Attack)
            An attack by ``"move"`` moves the folder before its run.
        """
        folder = self.place / name
        folder.mkdir(parents=True)
        orphans: list[Running] = []
        found: list[str] = []
        state = last = State()
        for state, attack in steps:
            self.count.edits += bool(orphans) and state != last
            if attack.who == "move":
                for running in orphans:  # whoever still writes there ends first
                    running.wait_for_all()
                folder = folder.rename(folder.with_name(f"moved{self.count.moves}.{name}"))
                self.count.moves += 1
            state.write(folder)
            before = _pieces(folder)
            running = Running(folder, self.plan(state, folder), attack)
            self.count.runs += 1
            running.wait()
            orphans.append(running)
            found += [f"unfinished work was lost: {x}" for x in _lost(folder, before)]
            last = state
        told = self._to_the_end(folder, state, orphans)
        found += [text for x in (*(o.told for o in orphans), told) for text in x.broken]
        for running in orphans:
            self.count.kills += running.told.kills
            self.count.full += running.told.full
            self.count.orphans += running.orphaned
        if not found:
            found += against(folder, self.wanted(state))
        self.count.sequences += 1
        self.count.differences += [f"{name}: {x}" for x in found]
        if not found:
            shutil.rmtree(folder)
        return found

    def _steps(self, rng: random.Random, runs: int, nested: bool) -> Iterator[tuple[State, Attack]]:
        state = State()
        if rng.random() < 0.5:
            state = self._edited(state, rng, nested)
        for i in range(runs):
            if i and rng.random() < 0.2:
                state = self._edited(state, rng, nested)
            yield state, self._attack(rng)

    def _edited(self, state: State, rng: random.Random, nested: bool) -> State:
        while (new := state.edited(rng)).evidence and not nested:
            pass
        return new

    def _attack(self, rng: random.Random) -> Attack:
        seed = rng.randrange(2**32)
        kind = rng.random()
        if kind < 0.05:
            return Attack("move")
        if kind < 0.15:
            return Attack(largest=rng.choice([500, 3000, 10_000, 40_000]), seed=seed)
        if kind < 0.3:
            return Attack("machine", 0.0, after=rng.expovariate(1 / 0.5), seed=seed)
        who = rng.choice(["machine", "stage", "driver"])
        return Attack(who, rng.choice([0.01, 0.03, 0.1, 0.1]), seed=seed)

    def _to_the_end(self, folder: Path, state: State, orphans: list[Running]) -> Told:
        """Run undisturbed, once: no kill and no orphan leaves anything that the user would have to mend."""
        for running in orphans:
            running.wait_for_all()
        running = Running(folder, self.plan(state, folder), Attack())
        self.count.runs += 1
        running.wait()
        told = running.wait_for_all()
        if not told.done:
            told.broken.append(f"the last run did not end: {told.said}")
        return told


_TAKEN_IN_BY = {
    "ensemble": "chains/mine.samples.h5",
    "evidence": "comparison/models.json",
    "exact": "checks/emulator_mine.json",
}
"""What takes in a kind of unfinished work, and may remove it then."""


def _pieces(folder: Path) -> set[Path]:
    return set((folder / RUN / "checkpoints").rglob("[!.]*.npz"))


def _lost(folder: Path, before: set[Path]) -> list[str]:
    """Return pieces that are gone though what they are pieces of was not taken in."""
    gone = [p.relative_to(folder / RUN / "checkpoints").parts for p in before if not p.exists()]
    kinds = {(parts[0], next(x for k, x in _TAKEN_IN_BY.items() if k in parts[0])) for parts in gone}
    return sorted(name for name, product in kinds if not (folder / RUN / product).exists())


@contextlib.contextmanager
def harness(
    place: Path, snakefile: Path = ROOT / "Snakefile", targets: Sequence[str] = TARGETS
) -> Iterator[Harness]:
    """Give a :class:`Harness`, with the cheap sky in this process and its children."""
    with pytest.MonkeyPatch.context() as patch, kept():
        make_cheap(patch)
        warm(patch)
        yield Harness(place, snakefile, targets)
