from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cmbfit.io import read_json, write_json, write_text
from cmbfit.provenance.citations import bibtex
from cmbfit.provenance.crate import write_crate as write

_SNAKEFILE = Path(__file__).parent.parent / "Snakefile"


def write_crate(*, summary: Path, code: Path, output: Path) -> None:
    """Record a finished run: RO-Crate, citations, and the workflow and configuration that made it.

    Parameters
    ----------
    summary
        The fit's summary (publish_chains).
    code
        Hash of the code by entry point.
    output
        Ro-crate-metadata.json in the run's folder.
    """
    folder, run = output.parent, read_json(summary)
    write_text(folder / "workflow" / "Snakefile", _SNAKEFILE.read_text(encoding="utf-8"))
    write_json(folder / "workflow" / "config.json", run["provenance"]["settings"])
    write_json(folder / "workflow" / "code.json", read_json(code))
    write_text(folder / "citations.bib", bibtex(run))
    # the first log of the run is its beginning; resumed runs began when their oldest product's job did
    oldest = min((p.stat().st_mtime for p in (folder / "logs").rglob("*.log")), default=None)
    ended = run["provenance"]["created"]
    started = ended if oldest is None else datetime.fromtimestamp(oldest, UTC).isoformat(timespec="seconds")
    write(folder, run, started=min(started, ended), ended=ended)
