from __future__ import annotations

import sys
from pathlib import Path

from cmbfit.io import read_json, write_text


def gate(*, summary: Path, output: Path) -> None:
    """Fail, after the report is written, if any check failed.

    Parameters
    ----------
    summary
        The fit's summary (publish_chains).
    output
        Written when all checks passed.
    """
    checks = read_json(summary)["checks"]
    failed = [check for check in checks if not check["pass"]]
    for check in failed:
        print(f"FAILED {check['source']}: {check['name']}: {check['value']} (expected {check['tolerance']})")
    if failed or not checks:
        sys.exit(f"{len(failed)} of {len(checks)} checks failed; the report shows them at the top")
    print(f"all {len(checks)} checks passed")
    write_text(output, f"{len(checks)} checks passed\n")
