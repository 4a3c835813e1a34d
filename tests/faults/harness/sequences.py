"""Random sequences of edits, kills, full disks, orphans and moves, each held against a run of its last state in a clean folder."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.workflow.loaded import kept

from .driver import Attack, Plan, Running, Told, plan
from .products import against, products
from .toy import State, make_cheap, warm


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
    refused: int = 0
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.sequences} sequences, {self.runs} runs, {self.edits} edits, {self.kills} kills, {self.orphans} orphans "
            f"beside another run, {self.full} jobs ended by a full disk, {self.moves} moves, {self.refused} refusals by name: "
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
    """

    def __init__(self, place: Path, snakefile: Path = ROOT / "Snakefile") -> None:
        self.place, self.snakefile, self.count = place, snakefile, Count()
        self._plans: dict[State, Plan] = {}
        self._wanted: dict[State, dict[str, Any]] = {}

    def plan(self, state: State, folder: Path) -> Plan:
        """Return the jobs of a state whose files are in a folder: the same in any."""
        if state not in self._plans:
            self._plans[state] = plan(folder, self.snakefile)
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

    def sequence(self, seed: int, *, runs: int = 5, nested: bool = False, state: State | None = None) -> list[str]:
        """Run one sequence; return the differences at its end."""
        rng = random.Random(seed)
        folder = self.place / f"run{seed}"
        folder.mkdir(parents=True)
        state = state or State()
        for _ in range(rng.randrange(2)):
            state = self._edited(state, rng, nested)
        orphans: list[Running] = []
        found: list[str] = []
        for i in range(runs):
            if i and rng.random() < 0.2:
                state = self._edited(state, rng, nested)
                self.count.edits += 1
            if rng.random() < 0.1:
                folder = self._moved(folder, seed, orphans)
            state.write(folder)
            running = Running(folder, self.plan(state, folder), self._attack(rng))
            self.count.runs += 1
            running.wait()
            orphans.append(running)
        told = self._to_the_end(folder, state, orphans)
        found += [f"{text}" for x in (*orphans, told) for text in _told(x).broken]
        for running in orphans:
            self.count.kills += running.told.kills
            self.count.full += running.told.full
            self.count.orphans += running.orphaned
        if not found:
            found += against(folder, self.wanted(state))
        self.count.sequences += 1
        self.count.differences += [f"sequence {seed}: {x}" for x in found]
        if not found:
            shutil.rmtree(folder)
        return found

    def _edited(self, state: State, rng: random.Random, nested: bool) -> State:
        while (new := state.edited(rng)).evidence and not nested:
            pass
        return new

    def _attack(self, rng: random.Random) -> Attack:
        seed = rng.randrange(2**32)
        kind = rng.random()
        if kind < 0.1:
            return Attack(largest=rng.choice([500, 3000, 10_000, 40_000]), seed=seed)
        if kind < 0.25:
            return Attack("machine", 0.0, after=rng.expovariate(1 / 0.5), seed=seed)
        who = rng.choice(["machine", "stage", "driver"])
        return Attack(who, rng.choice([0.01, 0.03, 0.1, 0.1]), seed=seed)

    def _moved(self, folder: Path, seed: int, orphans: list[Running]) -> Path:
        """Move the whole run; whoever still writes there ends first."""
        for running in orphans:
            running.wait_for_all()
        new = folder.with_name(f"moved{self.count.moves}.{seed}")
        folder.rename(new)
        self.count.moves += 1
        return new

    def _to_the_end(self, folder: Path, state: State, orphans: list[Running]) -> Told:
        """Run undisturbed, as often as a user must: once, and again after each refusal that names a file to remove."""
        for running in orphans:
            running.wait_for_all()
        told = Told()
        for _ in range(5):
            running = Running(folder, self.plan(state, folder), Attack())
            self.count.runs += 1
            running.wait()
            told = running.wait_for_all()
            if told.done:
                return told
            named = [m[1] for text in told.said if (m := re.search(r"error: (results/\S+): made from other", text))]
            if not named:
                break
            self.count.refused += len(named)
            for name in named:
                (folder / name).unlink()
        told.broken += [f"the last run did not end: {told.said}"]
        return told


def _told(x: Running | Told) -> Told:
    return x.told if isinstance(x, Running) else x


@contextlib.contextmanager
def harness(place: Path, snakefile: Path = ROOT / "Snakefile") -> Iterator[Harness]:
    """Give a harness, with the cheap sky in this process and its children."""
    with pytest.MonkeyPatch.context() as patch, kept():
        make_cheap(patch)
        warm(patch)
        yield Harness(place, snakefile)
