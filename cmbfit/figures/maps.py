"""Mollweide maps of I, Q, U and polarised intensity, with the masked sky left grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import healpy
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbfit.figures.style import new_figure, style
from cmbfit.sky.car import Car
from cmbfit.sky.maps import COORDINATES, Array, Mask, StokesMap
from cmbfit.sky.pixelisation import Pixelisation

_MASKED = "0.72"  # greyer than the middle of the scale, which is white
SIGNED, _POSITIVE = "RdBu_r", "viridis"  # blue is below zero, as in Planck's maps
_ROWS, _COLUMNS = 300, 600


def _grid() -> tuple[Array, Array]:
    """Return cell edges: longitude shown (radians, growing to the right) and latitude."""
    return np.linspace(-np.pi, np.pi, _COLUMNS + 1), np.linspace(-np.pi / 2, np.pi / 2, _ROWS + 1)


def mollweide_image(values: Array, grid: Pixelisation | None = None) -> Array:
    """Return the map on the plotting grid, shape (300, 600); sky longitude grows to the left, NaN where there are no pixels.

    Parameters
    ----------
    grid : Pixelisation, optional
        HEALPix when omitted.
    """
    lon_edges, lat_edges = _grid()
    lon, lat = 0.5 * (lon_edges[1:] + lon_edges[:-1]), 0.5 * (lat_edges[1:] + lat_edges[:-1])
    if isinstance(grid, Car):
        where = np.meshgrid(np.pi / 2 - lat, -lon, indexing="ij")
        at = grid.pixels_at(healpy.ang2vec(*(x.ravel() for x in where)))
        return np.where(at >= 0, values[at], np.nan).reshape(where[0].shape)
    nside = healpy.npix2nside(values.size)
    pixels = healpy.ang2pix(nside, np.pi / 2 - lat[:, None], -lon[None, :] % (2 * np.pi))
    return values[pixels]


def draw_mollweide(
    ax: Axes, values: Array, limits: tuple[float, float], cmap: str, grid: Pixelisation | None = None
) -> QuadMesh:
    """Draw values, grey where they are NaN; `grid` as in :func:`mollweide_image`."""
    image = mollweide_image(values, grid)
    colours = colormaps[cmap].with_extremes(bad=_MASKED)
    lon, lat = _grid()
    mesh = ax.pcolormesh(
        lon, lat, np.ma.masked_invalid(image), vmin=limits[0], vmax=limits[1], cmap=colours, rasterized=True
    )
    ax.set_xticks([])
    ax.set_yticks([])
    return mesh


def plot_maps(maps: Sequence[StokesMap], mask: Mask) -> Figure:
    """Return one row of panels a map: I, Q, U and P = sqrt(Q^2 + U^2) in uK_CMB.

    Each colour scale spans the central 98 % of the unmasked pixels, symmetric about zero for I, Q, U,
    and is shared by all maps of one Stokes parameter.

    Parameters
    ----------
    maps : sequence of StokesMap
    mask : Mask
        Pixels of weight zero are left grey.
    """
    columns = [[m.i, m.q, m.u, np.hypot(m.q, m.u)] for m in maps]
    titles = ("I", "Q", "U", "P")
    with style():
        fig = new_figure(12, 1.9 * len(maps) + 0.9)
        axes = fig.subplots(len(maps), 4, subplot_kw={"projection": "mollweide"}, squeeze=False)
        for k, title in enumerate(titles):
            seen = np.concatenate([c[k][mask.support] for c in columns])
            top = float(np.nanpercentile(np.abs(seen), 99))
            limits = (0.0, top) if k == 3 else (-top, top)
            for row, (stokes, column) in enumerate(zip(maps, columns, strict=True)):
                mesh = draw_mollweide(
                    axes[row, k],
                    np.where(mask.support, column[k], np.nan),
                    limits,
                    _POSITIVE if k == 3 else SIGNED,
                    mask.grid,
                )
                axes[row, k].set_title(f"{stokes.name}  {title}")
            bar = fig.colorbar(
                mesh, ax=axes[:, k], orientation="horizontal", shrink=0.75, aspect=28, pad=0.03
            )
            bar.set_label(r"$\mu$K$_{\rm CMB}$")
            bar.outline.set_linewidth(0.5)
        fig.supxlabel(
            f"{COORDINATES[maps[0].coord]} coordinates, longitude 0 at the centre, growing to the left; "
            r"$P = \sqrt{Q^2 + U^2}$; "
            f"grey: masked (sky fraction used {mask.fsky:.2f})",
            fontsize=9,
        )
    return fig


def maps_table(maps: Sequence[StokesMap], mask: Mask) -> dict[str, NDArray[Any]]:
    """Return the plotted numbers: one row a pixel, RING, uK_CMB."""
    table: dict[str, NDArray[Any]] = {"pixel": np.arange(mask.weights.size), "mask_weight": mask.weights}
    for m in maps:
        for key, values in (("i", m.i), ("q", m.q), ("u", m.u), ("p", np.hypot(m.q, m.u))):
            table[f"{m.name}_{key}_uk"] = values
    return table


def plot_mask(mask: Mask) -> Figure:
    """Return one Mollweide panel of the mask's weights."""
    return plot_masks([("Mask", mask)])


def plot_masks(masks: Sequence[tuple[str, Mask]]) -> Figure:
    """Return a Mollweide panel of weights for each mask, two in a row."""
    columns = min(2, len(masks))
    rows = -(-len(masks) // columns)
    with style():
        fig = new_figure(6 * columns, 3.3 * rows + 0.6)
        axes = fig.subplots(rows, columns, subplot_kw={"projection": "mollweide"}, squeeze=False)
        for ax, (name, mask) in zip(axes.flat, masks, strict=False):
            mesh = draw_mollweide(ax, mask.weights, (0.0, 1.0), "gray", mask.grid)
            ax.set_title(rf"{name}: $\langle w \rangle$ = {mask.fsky:.3f}, {COORDINATES[mask.coord]}")
        for ax in axes.flat[len(masks) :]:
            ax.set_visible(False)
        fig.colorbar(
            mesh, ax=axes, orientation="horizontal", shrink=0.6 / columns, aspect=30, pad=0.04, label="weight"
        )
    return fig
