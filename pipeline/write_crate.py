"""Record a finished run: RO-Crate, citations, and the workflow and configuration that made it."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from cmbfit.io import read_json, write_json, write_text
from cmbfit.provenance.citations import bibtex
from cmbfit.provenance.crate import write_crate
from pipeline.run_stage import run_stage

_SNAKEFILE = Path(__file__).parent.parent / "Snakefile"


def main() -> None:
    """Parse the arguments, gather, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--code", type=json.loads, required=True, help="hash of the code by entry point")
    parser.add_argument("--output", required=True, help="ro-crate-metadata.json in the run's folder")
    args = parser.parse_args()
    folder, summary = Path(args.output).parent, read_json(args.summary)
    write_text(folder / "workflow" / "Snakefile", _SNAKEFILE.read_text(encoding="utf-8"))
    write_json(folder / "workflow" / "config.json", summary["provenance"]["settings"])
    write_json(folder / "workflow" / "code.json", args.code)
    write_text(folder / "citations.bib", bibtex(summary))
    # the first log of the run is its beginning; resumed runs began when their oldest product's job did
    oldest = min((p.stat().st_mtime for p in (folder / "logs").rglob("*.log")), default=None)
    ended = summary["provenance"]["created"]
    started = ended if oldest is None else datetime.fromtimestamp(oldest, UTC).isoformat(timespec="seconds")
    write_crate(folder, summary, started=min(started, ended), ended=ended)


if __name__ == "__main__":
    run_stage(main)
