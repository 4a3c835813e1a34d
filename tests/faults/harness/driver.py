"""A run of the workflow's own jobs in forked processes that may be killed at any write, or left behind as orphans.

What Snakemake is to a run, :func:`drive` is here: it removes a job's outputs before it starts, runs the command that the
rule makes, and asks for a job again when its command, its parameters or the content of its inputs changed, or when it was
not seen to end. It keeps that in ``ledger.json``, beside the run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from snakemake.settings.types import DAGSettings

from cmbfit.config import load_config
from cmbfit.io import sha256_file, sha256_json
from pipeline.__main__ import main
from tests.conftest import ROOT
from tests.workflow.graph import Job
from tests.workflow.inprocess import words_of
from tests.workflow.loaded import loaded

from .toy import RUN, TARGETS

_WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "shutil.rmtree")


@dataclass(frozen=True)
class Attack:
    """What happens to a run.

    Attributes
    ----------
    who : str
        Who is killed: ``machine`` (driver and jobs), ``stage``, ``driver`` (its job goes on as an orphan), or nobody.
    hazard : float
        Chance of the kill at each write, rename and removal of the run's files.
    after : float or None
        Seconds until the machine is killed.
    largest : int or None
        Bytes beyond which no file grows: a full disk.
    seed : int
    """

    who: str = ""
    hazard: float = 0.0
    after: float | None = None
    largest: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """The jobs of a configuration, in an order that their files allow, what Snakemake compares of each, and its last word."""

    jobs: Sequence[Job]
    params: Mapping[str, str]
    sections: Any
    succeeded: Callable[[Any], None]


@dataclass
class Told:
    """What came of a run.

    Attributes
    ----------
    done : bool
        It ended, and all products are there.
    kills : int
    full : int
        Jobs that a full disk ended, by a typed error.
    said : list of str
        Typed errors of other jobs, which the user reads.
    broken : list of str
        What no job may end with.
    """

    done: bool = False
    kills: int = 0
    full: int = 0
    said: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def plan(folder: Path, snakefile: Path = ROOT / "Snakefile", targets: Sequence[str] = TARGETS) -> Plan:
    """Let Snakemake plan the run of a folder's ``run.yaml``."""
    with contextlib.chdir(folder), contextlib.redirect_stderr(io.StringIO()):
        config = load_config([Path("run.yaml")])
        with loaded(config, folder, snakefile) as api:
            api.dag(DAGSettings(targets=set(targets)))
            workflow = api._workflow
            workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
            workflow._build_dag()
            jobs, params = [], {}
            for j in workflow.dag.jobs:
                if j.rule.shellcmd:
                    job = Job(
                        j.rule.name,
                        tuple(map(str, j.input)),
                        tuple(map(str, j.output)),
                        tuple(map(str, j.log)),
                        j.shellcmd,
                    )
                    jobs.append(job)
                    named = {str(k): str(v) for k, v in j.params._allitems()}
                    params[job.outputs[0]] = sha256_json([j.rule.shellcmd, sorted(named.items())])
            return Plan(_ordered(jobs), params, workflow.globals["SECTIONS"], workflow._onsuccess)


def _ordered(jobs: Sequence[Job]) -> list[Job]:
    made, todo, out = set(), sorted(jobs, key=lambda j: j.outputs[0]), []
    outputs = {x for j in jobs for x in j.outputs}
    while todo:
        job = next(j for j in todo if not (set(j.inputs) & outputs) - made)
        todo.remove(job)
        out.append(job)
        made |= set(job.outputs)
    return out


class Running:
    """A driver at work, and everything that it started: orphans too."""

    def __init__(self, folder: Path, planned: Plan, attack: Attack) -> None:
        sys.stdout.flush()
        self._read, write = os.pipe()
        self.attack, self.told = attack, Told()
        self._begun, self._said, self._status = time.monotonic(), b"", None
        self._ended = False
        self.pid = os.fork()
        if not self.pid:
            os.close(self._read)
            _leave(folder, planned, attack, write)
        os.close(write)

    def wait(self) -> Told:
        """Wait for the driver; its orphan may go on."""
        if self.attack.after is not None:
            deadline = self._begun + self.attack.after
            while self._status is None and time.monotonic() < deadline:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self._status = status
                time.sleep(0.002)
            if self._status is None:
                with contextlib.suppress(ProcessLookupError):  # it has no session of its own yet
                    os.killpg(self.pid, signal.SIGKILL)
        if self._status is None:
            _, self._status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(self._status):
            self.told.kills += 1
        self.told.done = self._status == 0
        return self.told

    @property
    def orphaned(self) -> bool:
        """Whether its driver alone was killed, and its job went on."""
        return self.attack.who == "driver" and self.told.kills > 0

    def wait_for_all(self) -> Told:
        """Wait until nobody is left who writes."""
        if self._ended:
            return self.told
        while raw := os.read(self._read, 65536):
            self._said += raw
        os.close(self._read)
        self._ended = True
        for line in self._said.decode(errors="replace").splitlines():
            kind, text = json.loads(line)
            if kind == "killed":
                self.told.kills += 1
            elif kind == "refused" and "make room" in text and self.attack.largest is not None:
                self.told.full += 1
            elif kind == "refused":
                self.told.said.append(text)
            elif kind == "broken":
                self.told.broken.append(text)
        return self.told


def _leave(folder: Path, planned: Plan, attack: Attack, report: int) -> NoReturn:
    code = 3
    try:
        os.setsid()
        os.chdir(folder)
        if attack.who == "machine" and attack.hazard:
            _dangerous(attack, attack.seed)
        code = 0 if drive(planned, attack, report) else 1
    except BaseException as error:  # noqa: BLE001 (a child must not return into the test)
        _tell(report, "broken", f"driver: {type(error).__name__}: {error}")
    finally:
        os._exit(code)


def drive(planned: Plan, attack: Attack, report: int) -> bool:
    """Run what is missing or was made of something else; return whether all is there."""
    planned.sections.write()
    ledger = Path("ledger.json")
    known = json.loads(ledger.read_text()) if ledger.exists() else {}
    for number, job in enumerate(planned.jobs):
        name = job.outputs[0]
        made_of = [planned.params[name], [_content(x) for x in job.inputs]]
        if known.get(name) == made_of and all(Path(x).exists() for x in job.outputs):
            continue
        known.pop(name, None)
        _note(ledger, known)
        for x in map(Path, job.outputs):
            shutil.rmtree(x) if x.is_dir() else x.unlink(missing_ok=True)
            x.parent.mkdir(parents=True, exist_ok=True)
        Path(job.logs[0]).parent.mkdir(parents=True, exist_ok=True)
        pid = os.fork()
        if not pid:
            _stage(job, attack, attack.seed + number, report)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            _tell(report, "killed", job.rule)
        if status or not all(Path(x).exists() for x in job.outputs):
            return False
        known[name] = made_of
        _note(ledger, known)
    planned.succeeded(None)
    return True


def _stage(job: Job, attack: Attack, seed: int, report: int) -> NoReturn:
    """Run one job in this process, which it ends."""
    code = 3
    said = io.StringIO()
    driver = os.getppid()
    try:
        log = os.open(job.logs[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)  # as the rule's shell does
        os.dup2(log, 1)
        if attack.largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (attack.largest, resource.RLIM_INFINITY))
        if attack.hazard:
            _dangerous(attack, seed)
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(words_of(job)[3:])
        if code:
            _tell(report, "refused" if code == 2 else "broken", f"{job.rule}: {said.getvalue()}")
    except BaseException as error:  # noqa: BLE001 (see above)
        # what becomes of an orphan is nobody's concern, if only its products are whole: the next driver removes them under it
        left = os.getppid() != driver
        _tell(report, "orphan" if left else "broken", f"{job.rule}: {type(error).__name__}: {error}")
    finally:
        os._exit(code)


def _dangerous(attack: Attack, seed: int) -> None:
    """Let each write be the last one of this process, of its driver or of both."""
    rng, me = random.Random(seed), os.getpid()  # noqa: S311

    def hook(event: str, words: tuple[Any, ...]) -> None:
        if event == "open":
            mine = bool(words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and _of_run(words[0])
        else:
            mine = event in _WRITES and _of_run(words[0])
        if not mine or os.getpid() != me or rng.random() > attack.hazard:
            return
        if attack.who == "driver":
            if me != os.getsid(0):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(os.getsid(0), signal.SIGKILL)
        elif attack.who == "stage":
            _die(rng, me, os.kill)
        else:
            _die(rng, os.getpgid(0), os.killpg)

    sys.addaudithook(hook)


def _die(rng: random.Random, whom: int, kill: Any) -> None:
    """Die now, or a moment later, in the middle of what is being written."""
    if rng.random() < 0.5:
        kill(whom, signal.SIGKILL)
    signal.signal(signal.SIGALRM, lambda *_: kill(whom, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 2e-3))


def _of_run(path: Any) -> bool:
    return isinstance(path, str | os.PathLike) and f"{RUN}/" in f"{os.fspath(path)}/"


def _content(path: str) -> str:
    """Return what Snakemake compares of an input; those outside the run are in the parameters."""
    return sha256_file(path) if path.startswith(str(RUN)) and Path(path).is_file() else path


def _note(ledger: Path, known: Mapping[str, Any]) -> None:
    new = ledger.with_suffix(".new")
    new.write_text(json.dumps(known))
    new.replace(ledger)


def _tell(report: int, kind: str, text: str) -> None:
    os.write(report, json.dumps([kind, text[-3000:]]).encode() + b"\n")
