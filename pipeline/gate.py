"""Fail, after the report is written, if any check failed."""

from __future__ import annotations

import argparse
import sys

from cmbfit.io import read_json, write_text
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, judge, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    checks = read_json(args.summary)["checks"]
    failed = [check for check in checks if not check["pass"]]
    for check in failed:
        print(f"FAILED {check['source']}: {check['name']}: {check['value']} (expected {check['tolerance']})")
    if failed or not checks:
        sys.exit(f"{len(failed)} of {len(checks)} checks failed; the report shows them at the top")
    print(f"all {len(checks)} checks passed")
    write_text(args.output, f"{len(checks)} checks passed\n")


if __name__ == "__main__":
    run_stage(main)
