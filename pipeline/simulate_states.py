"""Number, entropy and spectrum of squeezed pairs (a classical simulation)."""

from __future__ import annotations

import argparse

from cmbfit.io import publish_record, write_json
from cmbfit.theory.quantum.tables import state_tables
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, simulate, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--squeezing", type=float, default=1.2, help="largest squeezing parameter r")
    parser.add_argument(
        "--levels", type=int, default=60, help="states of the truncated Fock space, each mode"
    )
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    write_json(args.output, state_tables(args.squeezing, args.levels))
    publish_record(args.output, inputs=[], settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
