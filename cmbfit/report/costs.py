"""What each job of a run took, from Snakemake's benchmark files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read_costs(folder: str | Path) -> list[dict[str, Any]]:
    """Return one row per job: ``job``, ``file`` (relative to `folder`), ``wall_s``, ``cpu_s``, ``max_rss_mb``, ``ended`` (unix time).

    Parameters
    ----------
    folder : str or Path
        Snakemake's benchmark files (JSON lines), in folders named by rule.
    """
    rows = []
    for path in sorted(Path(folder).rglob("*.jsonl")):
        try:
            record = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
            rows.append(
                {
                    "job": str(path.relative_to(folder).with_suffix("")),
                    "file": str(path.relative_to(folder)),
                    "wall_s": float(record["s"]),
                    "cpu_s": float(record["cpu_time"]),
                    "max_rss_mb": float(record["max_rss"]),
                    "ended": path.stat().st_mtime,
                }
            )
        except (IndexError, KeyError, ValueError, TypeError):
            continue  # a cost that Snakemake could not measure (jobs below its sampling interval) is no error
    return rows


_LONGEST = 40
"""Bars of the timeline; shorter jobs are left out, by number."""


def timeline(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return when each job ran, for a drawing: ``rows`` (job, start and length in seconds), ``span`` and ``left_out``.

    A job ended when its benchmark file was written. Jobs of several runs into one folder lie far apart: ``rows`` is empty
    where the span is more than five times the sum of all jobs.
    """
    jobs = [c for c in costs if "ended" in c]
    longest = sorted(jobs, key=lambda c: -c["wall_s"])[:_LONGEST]
    starts = sorted(
        ((c["ended"] - c["wall_s"], c["wall_s"], c["job"]) for c in longest), key=lambda row: (row[0], row[2])
    )
    if not starts:
        return {"rows": [], "span": 0.0, "left_out": 0}
    zero = starts[0][0]
    rows = [{"job": job, "start": start - zero, "length": length} for start, length, job in starts]
    span = max(row["start"] + row["length"] for row in rows)
    # jobs of several runs into one folder, or of a copy: bars in a void say nothing
    if span > 5 * sum(row["length"] for row in rows):
        return {"rows": [], "span": 0.0, "left_out": 0}
    return {"rows": rows, "span": span, "left_out": len(jobs) - len(longest)}
