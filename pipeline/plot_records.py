"""What the entry points share that draw a figure from JSON products alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cmbfit.figures.style import save_figure
from cmbfit.io import read_json


def plot_records(
    description: str | None,
    plot: Callable[..., Figure],
    table: Callable[..., Mapping[str, ArrayLike]],
    **records: str,
) -> None:
    """Parse the arguments, read the products, plot, publish.

    Parameters
    ----------
    description : str
        Of the command.
    plot, table : callable
        Figure and its numbers; each is called with the products in the order of `records`.
    **records : str
        Name of a required option that takes a JSON product, and its help.
    """
    parser = argparse.ArgumentParser(description=description)
    for name, text in records.items():
        parser.add_argument(f"--{name}", required=True, help=text)
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    products: list[Any] = [read_json(getattr(args, name)) for name in records]
    save_figure(plot(*products), args.output, table(*products))
