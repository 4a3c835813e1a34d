"""What each job of a run took, from Snakemake's benchmark files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_costs(folder: str | Path) -> list[dict[str, Any]]:
    """Return one row per job: ``job``, ``file`` (relative to `folder`), ``wall_s``, ``cpu_s``, ``max_rss_mb``.

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
                }
            )
        except (IndexError, KeyError, ValueError, TypeError):
            continue  # a cost that Snakemake could not measure (jobs below its sampling interval) is no error
    return rows
