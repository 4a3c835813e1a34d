"""Plot the compared models as a forest, with their table as CSV."""

from __future__ import annotations

from cmbfit.figures.models import plot_models
from cmbfit.inference.model_text import model_columns
from pipeline.plot_records import plot_records
from pipeline.run_stage import run_stage


def main() -> None:
    """Plot, publish."""
    plot_records(
        __doc__,
        lambda record: plot_models(record["tables"]),
        lambda record: model_columns(record["tables"]),
        models="product of compare_fits",
    )


if __name__ == "__main__":
    run_stage(main)
