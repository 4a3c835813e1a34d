from __future__ import annotations

from pathlib import Path

from cmbfit.figures.nulls import nulls_table
from cmbfit.figures.nulls import plot_nulls as draw
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json


def plot_nulls(*, checks: list[Path], output: Path) -> None:
    """Plot the probabilities to exceed of null tests and consistency tests.

    Parameters
    ----------
    checks
        Products of check_nulls and estimate_survey.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    tests = [c for path in checks for c in read_json(path)["checks"]]
    save_figure(draw(tests), output.with_suffix(""), nulls_table(tests))
