"""Whether texts of a figure lie over each other or beyond its edge: bounding boxes of the artists that are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

_INSIDE = 1.5
"""Pixels that a box gives up on each side: its line has room above and below the letters."""


def _texts(fig: Figure) -> Iterator[Text]:
    yield from fig.texts
    for legend in fig.legends:
        yield from _of_legend(legend)
    for ax in fig.axes:
        if ax.get_visible():
            yield from _of_axes(ax)


def _of_legend(legend: Legend) -> Iterator[Text]:
    yield from legend.get_texts()
    yield legend.get_title()


def _of_axes(ax: Axes) -> Iterator[Text]:
    yield from ax.texts
    if (legend := ax.get_legend()) is not None:
        yield from _of_legend(legend)
    # matplotlib keeps three titles, one for each side
    yield from (ax.title, ax._left_title, ax._right_title)
    if not ax.axison:
        return
    for axis in (ax.xaxis, ax.yaxis):
        yield from (axis.label, axis.offsetText)
        for tick in axis._update_ticks():  # those in view
            yield from (tick.label1, tick.label2)


def text_overlaps(fig: Figure) -> list[str]:
    """Return pairs of texts that overlap, and texts that the figure's edge cuts.

    Texts that both stand askew are left out: their boxes are wider than they are.
    """
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = []
    for text in _texts(fig):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent(renderer)
            boxes.append((text, box.x0 + _INSIDE, box.y0 + _INSIDE, box.x1 - _INSIDE, box.y1 - _INSIDE))
    width, height = fig.canvas.get_width_height()
    out = [
        f"{t.get_text()!r} is cut by the edge"
        for t, x0, y0, x1, y1 in boxes
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height
    ]
    for (a, ax0, ay0, ax1, ay1), (b, bx0, by0, bx1, by1) in combinations(boxes, 2):
        if a.get_rotation() % 90 and b.get_rotation() % 90:
            continue
        if ax0 < bx1 and bx0 < ax1 and ay0 < by1 and by0 < ay1:
            out.append(f"{a.get_text()!r} and {b.get_text()!r} overlap")
    return out
