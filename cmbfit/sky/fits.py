"""Maps and masks in FITS, HEALPix tables and CAR images, in and out. Whatever a file leaves ambiguous is refused or declared.

Rules: ORDERING, TUNIT and COORDSYS must be in the file or be declared; a declaration that
contradicts the file is an error. POLCCONV absent means COSMO (HEALPix documentation, "intro", node
12), in a CAR image it must be said; IAU flips the sign of U. All of it is recorded in the history of the map.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from cmbfit.errors import MapError
from cmbfit.io import atomic_file, parse_json, sha256_file
from cmbfit.sky.car import Car
from cmbfit.sky.car_fits import (
    STEPS,
    is_image,
    layers_of,
    open_images,
    read_car_layer,
    read_car_mask,
    read_car_stokes,
    write_car,
)
from cmbfit.sky.headers import UNSEEN, Headers
from cmbfit.sky.maps import Array, Mask, Record, StokesMap, nside_of
from cmbfit.sky.pixelisation import Healpix, Pixelisation
from cmbfit.sky.pixels import INDEX_COLUMNS, NO_UNIT, STOKES_NAMES, Grid, weights_of
from cmbfit.sky.table import open_table
from cmbfit.sky.units import Frequency, factor_to_uk_cmb


def _select(names: Sequence[str], columns: Sequence[str | int] | None, path: Path) -> list[int]:
    """Return the indices of the I, Q, U columns, or that of I where there are no others."""
    upper = [n.strip().upper() for n in names]
    if columns is not None:
        if len(columns) not in {1, 3}:
            raise MapError(f"{path}: {len(columns)} columns declared, expected I, Q, U, or I alone")
        try:
            return [c if isinstance(c, int) else upper.index(c.upper()) for c in columns]
        except ValueError as error:
            raise MapError(f"{path}: declared columns {list(columns)}, found {list(names)}") from error
    hits = {stokes: [k for k, n in enumerate(upper) if n in known] for stokes, known in STOKES_NAMES.items()}
    if len(hits["I"]) == 1 and not hits["Q"] and not hits["U"]:
        return hits["I"]
    for stokes, found in hits.items():
        if len(found) != 1:
            raise MapError(
                f"{path}: expected one column for Stokes {stokes} ({', '.join(sorted(STOKES_NAMES[stokes]))}), found "
                f"{len(found)} among the {len(names)} columns {list(names)}; declare columns"
            )
    return [found[0] for found in hits.values()]


def read_stokes(
    path: str | Path,
    *,
    name: str = "",
    unit: str | None = None,
    coord: str | None = None,
    ordering: str | None = None,
    polcconv: str | None = None,
    columns: Sequence[str | int] | None = None,
    frequency: Frequency | None = None,
    hdu: int | str = 1,
) -> StokesMap:
    """Read I, Q, U (or I alone, where a file has no Q and U) of a HEALPix or CAR file as uK_CMB, RING, COSMO, float64.

    The whole sky, or the pixels that a column lists (INDXSCHM = EXPLICIT); the others are without data.

    Parameters
    ----------
    unit, coord, ordering, polcconv : str, optional
        Declared where the file is silent; must agree with the file where it is not.
    columns : sequence of 3 names or indices, or 1, optional
        The I, Q, U columns, or that of I; found by TTYPE when omitted.
    frequency : float or Bandpass, optional
        For units that need one (K_RJ, MJy/sr), GHz.

    Raises
    ------
    MapError
        Unknown or missing unit, ORDERING, COORDSYS; unknown POLCCONV; contradictions; wrong columns;
        truncated file; infinite values. NaN and UNSEEN pixels are kept as NaN and counted.

    Examples
    --------
    >>> v = read_stokes("wmap_V.fits", name="V", unit="mK", coord="G")  # doctest: +SKIP
    """
    path = Path(path)
    if is_image(path):
        _refuse_words(path, ordering=ordering, columns=columns)
        return read_car_stokes(
            path, name=name, unit=unit, coord=coord, polcconv=polcconv, frequency=frequency
        )
    with open_table(path, hdu) as table:
        headers = Headers.of(path, hdu)
        order, order_source = headers.ordering(ordering)
        system, system_source = headers.coordinates(coord)
        convention, convention_source = headers.polcconv(polcconv)
        chosen = _select(table.columns.names, columns, path)
        grid = Grid.of(table, headers, ordering, chosen[0])
        units, scaled = [], []
        for stokes, k in zip("IQU"[: len(chosen)], chosen, strict=True):
            found = (table.columns[k].unit or "").strip()
            found = None if found.lower() in NO_UNIT else found
            if found and unit and factor_to_uk_cmb(found, frequency) != factor_to_uk_cmb(unit, frequency):
                raise MapError(
                    f"{path}: column {stokes} is in {found!r} in the file but declared as {unit!r}"
                )
            if not (found or unit):
                raise MapError(
                    f"{path}: column {stokes} has no TUNIT; declare unit (K, mK, uK, ...) if you know it (--unit, or maps.declare)"
                )
            units.append(found or unit)
            factor = factor_to_uk_cmb(str(found or unit), frequency)
            scaled.append(factor * grid.spread(table.data.field(k), headers, stokes))
        names = [table.columns.names[k] for k in chosen]
    if convention == "IAU" and len(scaled) > 1:
        scaled[2] = -scaled[2]
    record = {
        "step": "read",
        "file": path.name,
        "sha256": sha256_file(path),
        "columns": names,
        "units": units,
        "units_source": "declared" if unit else "file",
        "ordering": order,
        "ordering_source": order_source,
        "coord": system,
        "coord_source": system_source,
        "polcconv": convention,
        "polcconv_source": convention_source,
        "missing_pixels": [int(np.isnan(x).sum()) for x in scaled],
    }
    if len(scaled) == 1:
        return StokesMap.temperature(scaled[0], system, name, (record,))
    return StokesMap(i=scaled[0], q=scaled[1], u=scaled[2], coord=system, name=name, history=(record,))


def read_mask(
    path: str | Path,
    *,
    name: str = "",
    coord: str | None = None,
    ordering: str | None = None,
    column: str | int | None = None,
    hdu: int | str = 1,
    otherwise: str | None = None,
) -> Mask:
    """Read a mask: weights in [0, 1], which may be off by rounding.

    Pixels that a file with a list of pixels (INDXSCHM = EXPLICIT) leaves out are cut.

    Parameters
    ----------
    coord, ordering : str, optional
        Declared where the file is silent; must agree with the file where it is not.
    column : str or int, optional
        Which of several (Planck's GAL020, GAL040, ...). Not needed where all are equal: HEALPix tools repeat the mask
        for I, Q, U.
    otherwise : str, optional
        Coordinates where the file has none and none are declared: those of the maps.
    """
    path = Path(path)
    if is_image(path):
        _refuse_words(path, ordering=ordering, column=column)
        return read_car_mask(path, name=name, coord=coord)
    with open_table(path, hdu) as table:
        headers = Headers.of(path, hdu)
        order, order_source = headers.ordering(ordering)
        system, system_source = headers.coordinates(coord, otherwise)
        k = _mask_column(table, column, explicit=headers.is_explicit(), path=path)
        values = np.asarray(table.data.field(k))
        name_of_column = table.columns.names[k]
        weights = Grid.of(table, headers, ordering, k).spread(values, headers, "mask", empty=0.0)
    weights = weights_of(weights, path)
    record = {
        "step": "read",
        "file": path.name,
        "sha256": sha256_file(path),
        "column": name_of_column,
        "ordering": order,
        "ordering_source": order_source,
        "coord": system,
        "coord_source": system_source,
    }
    return Mask(weights, coord=system, name=name, history=(record,))


def _refuse_words(path: Path, **said: Any) -> None:
    """Raise :class:`MapError` where words for HEALPix tables are said of an image."""
    if words := [word for word, value in said.items() if value is not None]:
        raise MapError(f"{path} is a CAR image: {', '.join(words)} are for HEALPix tables")


def _mask_column(table: fits.BinTableHDU, column: str | int | None, *, explicit: bool, path: Path) -> int:
    """Return the index of the column of a mask: the one that is named, or the first of equal ones."""
    names = [n.strip() for n in table.columns.names]
    candidates = [k for k, n in enumerate(names) if not (explicit and n.upper() in INDEX_COLUMNS)]
    if column is not None:
        upper = [n.upper() for n in names]
        if isinstance(column, int) and 0 <= column < len(names):
            return column
        if not isinstance(column, str) or column.upper() not in upper:
            raise MapError(f"{path}: no column {column!r} among {names}")
        return upper.index(column.upper())
    first = np.asarray(table.data.field(candidates[0])) if candidates else np.zeros(0)
    if not candidates or not all(np.array_equal(first, table.data.field(k)) for k in candidates[1:]):
        raise MapError(
            f"{path}: the {len(candidates)} columns {[names[k] for k in candidates]} differ; say which is the mask "
            "(--mask-column, or column of a mask in a configuration)"
        )
    return candidates[0]


def read_column(
    path: str | Path, column: str, *, ordering: str | None = None, hdu: int | str = 1
) -> tuple[Array, str]:
    """Read one more column of a map file, or image of a CAR file: hits, a variance.

    Returns
    -------
    values : ndarray, shape (npix,)
        RING, NaN where the file has UNSEEN, in the file's unit.
    unit : str
        TUNIT, empty when absent.

    Raises
    ------
    MapError
        When there is no such column.
    """
    path = Path(path)
    if is_image(path):
        _refuse_words(path, ordering=ordering)
        return read_car_layer(path, column)[:2]
    with open_table(path, hdu) as table:
        names = [n.strip().upper() for n in table.columns.names]
        if column.upper() not in names:
            raise MapError(f"{path}: no column {column!r} among {table.columns.names}")
        k = names.index(column.upper())
        headers = Headers.of(path, hdu)
        values = Grid.of(table, headers, ordering, k).spread(table.data.field(k), headers, column)
        return values, (table.columns[k].unit or "").strip()


def coordinates_of(path: str | Path, hdu: int | str = 1) -> str:
    """Return "G", "C" or "E" of a file that says so."""
    return grid_of(path, hdu)[1] or Headers.of(path, hdu).coordinates(None)[0]


def grid_of(path: str | Path, hdu: int | str = 1) -> tuple[Pixelisation, str | None]:
    """Return the grid of a map, and its coordinates (G, C, E) where it says them."""
    if is_image(path):
        with open_images(Path(path)) as images:
            return images[0].grid, images[0].coord
    headers = Headers.of(path, hdu)
    if headers.is_explicit():
        nside = headers.nside()
    else:
        with open_table(path, hdu) as table:
            nside = headers.nside(int(np.asarray(table.data.field(0)).size))
    return Healpix(nside), headers.coordinates(None, "")[0] or None


def column_names(path: str | Path, hdu: int | str = 1) -> tuple[str, ...]:
    """Return the names of a table's columns in upper case, those of its layers (HITS, IVAR, ...) of a CAR image."""
    if is_image(path):
        return layers_of(path)
    with open_table(path, hdu) as table:
        return tuple(n.strip().upper() for n in table.columns.names)


def _write(
    path: str | Path,
    columns: dict[str, tuple[Array, str]],
    coord: str,
    history: Sequence[Record],
    fits_format: str = "D",
    grid: Pixelisation | None = None,
) -> None:
    if isinstance(grid, Car):
        planes = {name: x for name, (x, _) in columns.items() if name != "WEIGHT"}
        write_car(
            path,
            [np.where(x == UNSEEN, np.nan, x) for x in planes.values()],
            grid,
            coord,
            history,
            unit=next(iter(columns.values()))[1],
            weight=columns["WEIGHT"][0] if "WEIGHT" in columns else None,
            dtype="f4" if fits_format == "E" else "f8",
        )
        return
    npix = next(iter(columns.values()))[0].size
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name=n, format=fits_format, unit=u or None, array=x) for n, (x, u) in columns.items()],
        name="MAP",
    )
    head = table.header
    head["PIXTYPE"], head["ORDERING"], head["NSIDE"] = "HEALPIX", "RING", nside_of(npix, str(path))
    head["FIRSTPIX"], head["LASTPIX"], head["INDXSCHM"] = 0, npix - 1, "IMPLICIT"
    head["COORDSYS"] = coord
    if "Q_STOKES" in columns:
        head["POLCCONV"], head["POLAR"], head["BAD_DATA"] = "COSMO", True, UNSEEN
    for record in history:
        head["HISTORY"] = f"cmbfit: {record['step']}"
    text = [json.dumps(record, allow_nan=False) for record in history] or ["{}"]
    steps = fits.BinTableHDU.from_columns(
        [fits.Column(name="JSON", format=f"{max(map(len, text))}A", array=np.array(text))], name=STEPS
    )
    hdus = fits.HDUList([fits.PrimaryHDU(), table, steps])
    for hdu in hdus:
        hdu.add_checksum(when="")  # the time of writing would make equal products differ
    with atomic_file(path) as f:
        hdus.writeto(f)


def _read_steps(path: str | Path) -> tuple[Record, ...]:
    with open_table(path, STEPS) as table:
        return tuple(parse_json(x) for x in table.data["JSON"] if x != "{}")


def _columns_of(stokes: StokesMap) -> list[tuple[str, Array]]:
    return [(key, getattr(stokes, key.lower())) for key in ("IQU" if stokes.polarised else "I")]


def write_product(path: str | Path, stokes: StokesMap) -> None:
    """Publish a map atomically: uK_CMB, RING, COSMO, UNSEEN where it has no data, with its history.

    The steps are HISTORY cards for a reader's eye and, as JSON, the table CMBFITSTEPS.
    """
    columns = {
        f"{key}_STOKES": (np.where(np.isnan(x), UNSEEN, x), "uK_CMB") for key, x in _columns_of(stokes)
    }
    _write(path, columns, stokes.coord, stokes.history, grid=stokes.grid)


def write_split(path: str | Path, stokes: StokesMap, weight: Array) -> None:
    """Publish one split of a field: I, Q, U and the column WEIGHT, single precision, with its history.

    Parameters
    ----------
    weight : ndarray, shape (npix,)
        Inverse variance of a pixel up to one factor, for example hits; 0 without data.
    """
    columns = {
        f"{key}_STOKES": (np.where(np.isnan(x), UNSEEN, x), "uK_CMB") for key, x in _columns_of(stokes)
    }
    columns["WEIGHT"] = (np.asarray(weight, dtype=np.float64), "")
    _write(path, columns, stokes.coord, stokes.history, fits_format="E", grid=stokes.grid)


def read_product(path: str | Path, name: str = "") -> StokesMap:
    """Read back what :func:`write_product` wrote, history included."""
    stokes = read_stokes(path, name=name)
    return replace(stokes, history=_read_steps(path))


def write_mask(path: str | Path, mask: Mask) -> None:
    """Publish a mask atomically with its history."""
    _write(path, {"MASK": (mask.weights, "")}, mask.coord, mask.history, grid=mask.grid)


def read_mask_product(path: str | Path, name: str = "") -> Mask:
    """Read back what :func:`write_mask` wrote, history included."""
    mask = read_mask(path, name=name)
    return Mask(mask.weights, mask.coord, name, _read_steps(path), mask.grid)
