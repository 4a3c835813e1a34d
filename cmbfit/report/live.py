"""A run while it is under way: how far it is, what runs, what samplers say, and a page of the figures that are there.

All of it is read from the run's files and from Snakemake's own log; nothing is asked of the running processes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import escape

from cmbfit.errors import DataError
from cmbfit.io import write_text
from cmbfit.report.figures import read_figure

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:0 auto;padding:1.5rem 1rem}"
    "pre{white-space:pre-wrap;background:#f6f8fa;padding:.8rem 1rem}img{max-width:100%;height:auto}"
)
MARK = '<meta name="cmbfit" content="under way">'
"""What tells the page of a run under way from a report."""

_STEPS = re.compile(r"^(\d+) of (\d+) steps \(\d+%\) done", re.MULTILINE)
_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?: {4}.*\n)+)", re.MULTILINE)
_ENDED = re.compile(
    r"^Finished jobid: (\d+)|^Error in rule \w+:\n(?: {4}.*\n)*? {4}jobid: (\d+)", re.MULTILINE
)
_OVER = re.compile(r"^(?:Elapsed time: |Complete log\(s\): |Nothing to be done)", re.MULTILINE)
_TOTAL = re.compile(r"^total +(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """A job that runs: its rule, its wildcards in words, and the last line of its log."""

    rule: str
    what: str
    says: str


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes
    ----------
    done, total : int
        Steps of the latest call of Snakemake.
    running : list of Job
    failed : list of str
        Rules with an error.
    over : bool
        Whether that call has ended.
    """

    done: int = 0
    total: int = 0
    running: list[Job] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    over: bool = False

    @property
    def finished(self) -> bool:
        """Whether the run ended with nothing left to do."""
        return self.over and self.done >= self.total and not self.failed


def latest_log(folder: Path, name: str) -> Path | None:
    """Return Snakemake's latest log under `folder` that is of the run `name`; None where there is none."""
    logs = sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"), reverse=True)
    return next((path for path in logs if f"results/{name}/" in _text(path)), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_state(run: str | Path) -> State:
    """Return the state of a run.

    Parameters
    ----------
    run : path
        Its folder, ``results/NAME``; Snakemake's log lies two levels above.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    run = Path(run)
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; name that of a run, results/NAME")
    home = run.absolute().parent.parent
    log = latest_log(home, run.absolute().name)
    if log is None:
        return State()
    text = _text(log)
    ended = {a or b for a, b in _ENDED.findall(text)}
    running = []
    for rule, body in _JOB.findall(text):
        about = dict(line.strip().split(": ", 1) for line in body.splitlines() if ": " in line)
        if about.get("jobid") not in ended:
            running.append(Job(rule, about.get("wildcards", ""), _last_line(home, about.get("log", ""))))
    steps = _STEPS.findall(text)
    total = _TOTAL.search(text)
    done, of = steps[-1] if steps else ("0", total[1] if total else "0")
    over = _OVER.search(text) is not None
    failed = re.findall(r"^Error in rule (\w+)", text, re.MULTILINE)
    return State(int(done), int(of), [] if over else running, list(dict.fromkeys(failed)), over)


def _last_line(home: Path, log: str) -> str:
    """Return the last line that a job wrote, without its date; of a sampler: steps, tau, effective samples, rate, time left."""
    lines = (
        [line for line in _text(home / log.split(", ", maxsplit=1)[0]).splitlines() if line.strip()]
        if log
        else []
    )
    return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ ", "", lines[-1])[:200] if lines else ""


def words(run: str | Path, state: State) -> list[str]:
    """Return a state as lines for a terminal."""
    head = f"{Path(run).name}: {state.done} of {state.total} steps"
    if state.over:
        end = f"ended with errors in {', '.join(state.failed)}" if state.failed else "stopped before its end"
        head += "; finished" if state.finished else f"; {end}"
    lines = [head]
    for job in state.running:
        what = f" ({job.what})" if job.what else ""
        lines.append(f"  {job.rule}{what}" + (f": {job.says}" if job.says else ""))
    return lines


def page(run: Path, state: State, figures: Sequence[Path]) -> str:
    """Return the page of a run under way: it loads itself anew every five seconds."""
    out = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        MARK,
        '<meta http-equiv="refresh" content="5"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(run.name)}: under way</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(run.name)}: under way</h1><pre>{escape(chr(10).join(words(run, state)))}</pre>",
        "<p>The report takes this page's place when the run is through. Figures so far:</p>",
    ]
    for path in figures:
        try:
            shown = read_figure(path)
        except DataError:
            continue  # of a kind that no page shows, or just being replaced
        out.append(
            f'<figure><img alt="{escape(shown.title)}" width="{shown.width}" height="{shown.height}" '
            f'src="data:image/png;base64,{shown.data}"><figcaption><b>{escape(shown.title)}.</b> {escape(shown.caption)}</figcaption></figure>'
        )
    return "\n".join([*out, "</body></html>\n"])


def fill_page(run: str | Path, state: State) -> bool:
    """Write ``report/index.html`` of a run under way; return whether it was written.

    A report of a finished run is left alone, and so is the place once the summary is there, from which the report is made.
    """
    run = Path(run)
    index = run / "report" / "index.html"
    if (run / "summary.json").exists() or (index.exists() and MARK not in _text(index)[:2000]):
        return False
    write_text(index, page(run, state, sorted((run / "figures").glob("*.png"), key=lambda p: p.name)))
    return True
