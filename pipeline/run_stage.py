"""How every entry point runs: a typed error is one line and exit code 2, as on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cmbfit.errors import CmbfitError


def run_stage(main: Callable[[], None]) -> None:
    """Call `main`; print a :class:`~cmbfit.errors.CmbfitError` as one line and exit with 2."""
    try:
        main()
    except CmbfitError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
