"""CAR maps in FITS images: the grid that a header describes, and the planes on it.

What is read: CTYPE RA---CAR and DEC--CAR (GLON, GLAT; ELON, ELAT), the reference point on the equator (CRVAL2 = 0: else the
projection is an oblique one), square pixels that divide the circle, either sign of CDELT, any CRPIX, PC and CD matrices
without rotation. Every such header is held against astropy.wcs; anything else is refused by name.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.fits_structure import check_structure
from cmbfit.io import atomic_file, reading, sha256_file
from cmbfit.sky.car import Car
from cmbfit.sky.headers import Headers
from cmbfit.sky.maps import COORDINATES, Array, Mask, Record, StokesMap
from cmbfit.sky.pixels import NO_UNIT, STOKES_NAMES, is_bad, weights_of
from cmbfit.sky.units import Frequency, factor_to_uk_cmb

_SYSTEMS = {("RA", "DEC"): "C", ("GLON", "GLAT"): "G", ("ELON", "ELAT"): "E"}
_AXES = {system: axes for axes, system in _SYSTEMS.items()}
_PIXEL = 1e-3
"""By how much of a pixel a position may differ from that of astropy.wcs: rounding of CDELT over a whole ring."""
STEPS = "CMBFIT_STEPS"


def is_image(path: str | Path) -> bool:
    """Return whether the first data of a FITS file are an image of a sky, not a table; errors as for tables."""
    with _open(Path(path)) as hdus:
        first = next((h for h in hdus if h.header.get("NAXIS", 0) > 0), None)
        return first is not None and first.is_image and first.header["NAXIS"] >= 2


@contextlib.contextmanager
def _open(path: Path) -> Iterator[fits.HDUList]:
    check_structure(path, kind=MapError)
    with reading(path, "a whole FITS file", MapError), path.open("rb") as raw:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            handle = fits.open(raw, memmap=True)
        with handle:
            yield handle


@dataclass(frozen=True, eq=False)
class Image:
    """One image HDU: its planes, its grid and its headers.

    Attributes
    ----------
    name : str
        EXTNAME, upper case.
    planes : ndarray, shape (n, rows, columns)
        As in the file.
    """

    name: str
    planes: NDArray[Any]
    grid: Car
    coord: str
    headers: Headers
    flips: tuple[slice, slice]

    def plane(self, k: int, what: str) -> Array:
        """Return a plane as float64, from the north and eastwards, shape (npix,); NaN where the file has no data."""
        out = np.array(self.planes[k][self.flips], dtype=np.float64).ravel()
        if np.isinf(out).any():
            raise MapError(f"{self.headers.path}: {what} has {int(np.isinf(out).sum())} infinite values")
        out[is_bad(out, self.headers.bad_data())] = np.nan
        return out

    def unit(self, declared: str | None, frequency: Frequency | None) -> tuple[str, float]:
        """Return the unit and its factor to uK_CMB."""
        found: str | None = str(self.headers.table.get("BUNIT", "")).strip()
        found = None if str(found).lower() in NO_UNIT else found
        path = self.headers.path
        if found and declared and factor_to_uk_cmb(found, frequency) != factor_to_uk_cmb(declared, frequency):
            raise MapError(f"{path}: the map is in {found!r} in the file but declared as {declared!r}")
        if not (found or declared):
            raise MapError(
                f"{path}: no BUNIT in the header; declare unit (K, mK, uK, ...) if you know it (--unit, or maps.declare)"
            )
        return str(found or declared), factor_to_uk_cmb(str(found or declared), frequency)


def read_grid(header: fits.Header, path: str | Path) -> tuple[Car, str, tuple[slice, slice]]:
    """Return the grid of a header, its coordinates, and how to turn an image: from the north, eastwards.

    Raises
    ------
    MapError
        For any other projection, a rotated or oblique one, pixels that are not square or do not divide the circle.
    """
    kinds = [str(header.get(f"CTYPE{k}", "")).strip().upper() for k in (1, 2)]
    if not all(kinds):
        raise MapError(
            f"{path}: an image without CTYPE1 and CTYPE2: expected the WCS of a CAR map, or a HEALPix table"
        )
    axes = tuple(k[:4].rstrip("-") for k in kinds)
    if axes not in _SYSTEMS or any(k[5:8] != "CAR" or len(k) > 8 for k in kinds):
        raise MapError(
            f"{path}: projection {kinds[0]}, {kinds[1]}: expected CAR (plate carree) of RA and DEC, GLON and GLAT, or ELON "
            "and ELAT"
        )
    frame = str(header.get("RADESYS", header.get("RADECSYS", "ICRS"))).strip().upper() or "ICRS"
    equinox = float(header.get("EQUINOX", 2000.0))
    if frame not in {"ICRS", "FK5"} or equinox != 2000:
        raise MapError(f"{path}: RADESYS {frame}, EQUINOX {equinox:g}: expected ICRS, or FK5 of 2000")
    with warnings.catch_warnings(), reading(path, "a WCS that astropy understands", MapError):
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(header, naxis=2)
        matrix = wcs.pixel_scale_matrix
    if abs(wcs.wcs.crval[1]) > 1e-9:
        raise MapError(
            f"{path}: CRVAL2 is {wcs.wcs.crval[1]:g}: the poles of this grid are not those of the sky (a rotated CAR map); "
            "expected 0, the reference point on the equator"
        )
    east, north = float(matrix[0, 0]), float(matrix[1, 1])
    if abs(matrix[0, 1]) + abs(matrix[1, 0]) > 1e-9 * (abs(east) + abs(north)) or not east or not north:
        raise MapError(f"{path}: the grid is rotated (PC or CD matrix {np.round(matrix, 9).tolist()} deg)")
    if abs(abs(east / north) - 1) > 1e-6:
        raise MapError(f"{path}: pixels of {abs(east):.9g} x {abs(north):.9g} deg are not square")
    columns, rows = int(header["NAXIS1"]), int(header["NAXIS2"])
    circle = round(360 / abs(east))
    if circle < 4 or abs(360 / abs(east) - circle) * columns > _PIXEL * circle:
        raise MapError(
            f"{path}: pixels of {abs(east):.12g} deg: 360 deg are {360 / abs(east):.6f} of them, expected a whole number"
        )
    step = 360 / circle
    row = rows if north > 0 else 1  # of the northernmost ring
    column = columns if east < 0 else 1  # of the westernmost pixel
    grid = Car(
        circle=circle,
        rows=rows,
        columns=columns,
        top=(row - wcs.wcs.crpix[1]) * np.sign(north),
        left=wcs.wcs.crval[0] / step + (column - wcs.wcs.crpix[0]) * np.sign(east),
    )
    flips = (slice(None, None, -1 if north > 0 else 1), slice(None, None, -1 if east < 0 else 1))
    _require_same_places(grid, wcs, flips, path)
    return grid, _SYSTEMS[axes], flips


def _require_same_places(grid: Car, wcs: WCS, flips: tuple[slice, slice], path: str | Path) -> None:
    """Raise :class:`MapError` where astropy.wcs finds pixels elsewhere: LONPOLE, LATPOLE or PV cards turn the sphere."""
    rows, columns = (np.unique(np.linspace(0, n - 1, 5).astype(int)) for n in (grid.rows, grid.columns))
    r, c = (x.ravel() for x in np.meshgrid(rows, columns, indexing="ij"))
    y, x = np.arange(grid.rows)[flips[0]][r], np.arange(grid.columns)[flips[1]][c]
    with reading(path, "a WCS that covers its image", MapError):
        longitude, latitude = wcs.wcs_pix2world(x, y, 0)
    found = np.radians([latitude, longitude])
    there = np.stack(
        [np.cos(found[0]) * np.cos(found[1]), np.cos(found[0]) * np.sin(found[1]), np.sin(found[0])], axis=1
    )
    off = np.abs(there - grid.vectors(r * grid.columns + c)).max()
    if not off < _PIXEL * np.radians(grid.step_deg):
        raise MapError(
            f"{path}: by its WCS pixels lie up to {np.degrees(off):.3g} deg from where a plain CAR grid has them (LONPOLE, "
            "LATPOLE or PV cards?): a rotated grid"
        )


def _image(hdu: Any, primary: fits.Header, path: Path) -> Image:
    grid, coord, flips = read_grid(hdu.header, path)
    planes = hdu.data
    extra = planes.shape[:-2]
    if int(np.prod(extra, dtype=int)) != max((1, *extra)):
        raise MapError(f"{path}: an image of shape {planes.shape}: expected planes of one more axis at most")
    name = str(hdu.header.get("EXTNAME", "")).strip().upper()
    planes = planes.reshape(-1, *planes.shape[-2:])
    return Image(name, planes, grid, coord, Headers(hdu.header, primary, path), flips)


@contextlib.contextmanager
def open_images(path: Path) -> Iterator[list[Image]]:
    """Yield every image of a file."""
    with _open(path) as hdus, reading(path, "a whole FITS image", MapError):
        yield [_image(h, hdus[0].header, path) for h in hdus if h.is_image and h.header.get("NAXIS", 0) >= 2]


def _of_stokes(images: Sequence[Image], path: Path) -> list[tuple[Image, int, str]]:
    """Return the planes of I, Q, U, or that of I alone: of one cube, or of images by their EXTNAME."""
    sky = [i for i in images if i.name not in LAYERS]
    named = {s: [i for i in sky if i.name in known] for s, known in STOKES_NAMES.items()}
    if len(sky) == 1:
        n = len(sky[0].planes)
        if n not in {1, 3}:
            raise MapError(f"{path}: {n} planes, expected I, Q, U, or I alone")
        _check_stokes_axis(sky[0].headers.table, path)
        return [(sky[0], k, s) for k, s in enumerate("IQU"[:n])]
    counts = [len(named[s]) for s in "IQU"]
    if counts not in ([1, 1, 1], [1, 0, 0]) or any(len(i.planes) != 1 for i in sky):
        raise MapError(
            f"{path}: images {[i.name for i in sky]}: expected one cube of I, Q, U, or images with the EXTNAME I (or T), Q, U"
        )
    return [(named[s][0], 0, s) for s in "IQU" if named[s]]


def _check_stokes_axis(header: fits.Header, path: Path) -> None:
    if str(header.get("CTYPE3", "")).strip().upper() != "STOKES":
        return
    first = header.get("CRVAL3", 1.0) + (1 - header.get("CRPIX3", 1.0)) * header.get("CDELT3", 1.0)
    if first != 1 or header.get("CDELT3", 1.0) != 1:
        raise MapError(
            f"{path}: its STOKES axis starts at {first:g} in steps of {header.get('CDELT3', 1.0):g}, expected I, Q, U"
        )


def read_car_stokes(
    path: str | Path,
    *,
    name: str = "",
    unit: str | None = None,
    coord: str | None = None,
    polcconv: str | None = None,
    frequency: Frequency | None = None,
) -> StokesMap:
    """Read I, Q, U (or I alone) of a CAR map as uK_CMB, COSMO, float64; see :func:`cmbfit.sky.fits.read_stokes`.

    POLCCONV must be said or declared: where it is absent HEALPix files are COSMO, but ACT's images are IAU.
    """
    path = Path(path)
    with open_images(path) as images:
        chosen = _of_stokes(images, path)
        first = chosen[0][0]
        if any((i.grid, i.coord) != (first.grid, first.coord) for i, _, _ in chosen):
            raise MapError(f"{path}: the images of I, Q and U have different grids")
        coord_source = agreed_coordinates(first, coord)
        convention, convention_source = "", ""
        if len(chosen) == 3:
            found = {i.headers.polcconv(polcconv) for i, _, _ in chosen[1:]}
            if len(found) != 1:
                raise MapError(f"{path}: POLCCONV of Q and of U differ: {sorted(found)}")
            convention, convention_source = found.pop()
            if convention_source.startswith("absent"):
                raise MapError(
                    f"{path}: no POLCCONV in the header of a CAR map, and customs differ (ACT: IAU); declare polcconv, IAU or "
                    "COSMO (--polcconv, or maps.declare)"
                )
        units, planes = [], []
        for image, k, stokes in chosen:
            said, factor = image.unit(unit, frequency)
            units.append(said)
            planes.append(factor * image.plane(k, stokes))
    if convention == "IAU":
        planes[2] = -planes[2]
    record: dict[str, Any] = {
        "step": "read",
        "file": path.name,
        "sha256": sha256_file(path),
        "columns": [s for _, _, s in chosen],
        "units": units,
        "units_source": "declared" if unit else "file",
        "grid": first.grid.name,
        "coord": first.coord,
        "coord_source": coord_source,
        "missing_pixels": [int(np.isnan(x).sum()) for x in planes],
    }
    if len(planes) == 1:
        return StokesMap.temperature(planes[0], first.coord, name, (record,), first.grid)
    record |= {"polcconv": convention, "polcconv_source": convention_source}
    i, q, u = planes
    return StokesMap(i, q, u, coord=first.coord, name=name, history=(record,), pixelisation=first.grid)


def agreed_coordinates(image: Image, declared: str | None) -> str:
    """Return where coordinates are said; :class:`MapError` where they are declared otherwise."""
    if declared is not None and declared != image.coord:
        raise MapError(
            f"{image.headers.path}: coordinates are {image.coord!r} by CTYPE but declared as {declared!r}: which is right?"
        )
    return "file"


def read_car_mask(path: str | Path, *, name: str = "", coord: str | None = None) -> Mask:
    """Read a mask of a CAR grid: weights in [0, 1], one plane or equal ones; see :func:`cmbfit.sky.fits.read_mask`."""
    path = Path(path)
    with open_images(path) as images:
        if len(images) != 1:
            raise MapError(f"{path}: {len(images)} images, expected one mask")
        image = images[0]
        source = agreed_coordinates(image, coord)
        values = image.plane(0, "mask")
        if any(not np.array_equal(values, image.plane(k, "mask")) for k in range(1, len(image.planes))):
            raise MapError(f"{path}: the {len(image.planes)} planes of the mask differ: give one a file")
    record = {"step": "read", "file": path.name, "sha256": sha256_file(path), "grid": image.grid.name,
              "coord": image.coord, "coord_source": source}  # fmt: skip
    return Mask(weights_of(values, path), image.coord, name, (record,), image.grid)


LAYERS = ("HITS", "N_OBS", "IVAR", "WEIGHT")
"""EXTNAME of images that are no sky."""


def read_car_layer(path: str | Path, layer: str | None = None) -> tuple[Array, str, Car]:
    """Return one more image on a grid of its own: hits, an inverse variance. Its values, BUNIT and grid.

    Parameters
    ----------
    layer : str, optional
        EXTNAME; the only image of the file when omitted. Of several planes the first, that of I.
    """
    path = Path(path)
    with open_images(path) as images:
        found = [i for i in images if layer is None or i.name == layer.upper()]
        if len(found) != 1:
            raise MapError(
                f"{path}: {len(found)} images {layer or ''} among {[i.name for i in images]}, expected one"
            )
        image = found[0]
        return image.plane(0, layer or "image"), str(image.headers.table.get("BUNIT", "")).strip(), image.grid


def layers_of(path: str | Path) -> tuple[str, ...]:
    """Return the EXTNAME of a file's images that are no sky."""
    with open_images(Path(path)) as images:
        return tuple(i.name for i in images if i.name in LAYERS)


def write_header(grid: Car, coord: str) -> fits.Header:
    """Return the WCS cards of a grid: rows from the south, columns to the west, as ACT writes them."""
    if coord not in COORDINATES:
        raise MapError(f"coordinates {coord!r}, expected one of {sorted(COORDINATES)}")
    head = fits.Header()
    first, second = _AXES[coord]
    head["CTYPE1"], head["CTYPE2"] = f"{first:-<4}-CAR", f"{second:-<4}-CAR"
    head["CUNIT1"] = head["CUNIT2"] = "deg"
    head["CDELT1"], head["CDELT2"] = -grid.step_deg, grid.step_deg
    middle = grid.columns // 2  # the reference point must be within half a turn of every pixel
    head["CRVAL1"] = float((grid.left + middle) * grid.step_deg % 360)
    head["CRVAL2"] = 0.0
    head["CRPIX1"] = float(grid.columns - middle)
    head["CRPIX2"] = float(grid.rows - grid.top)
    if coord == "C":
        head["RADESYS"] = "ICRS"
    return head


def write_car(
    path: str | Path,
    planes: Sequence[Array],
    grid: Car,
    coord: str,
    history: Sequence[Record],
    *,
    unit: str = "",
    weight: Array | None = None,
    dtype: str = "f8",
) -> None:
    """Publish I, Q, U, I alone or a mask as one image, atomically, with its history; `weight` as the image WEIGHT."""

    def image(values: Sequence[Array]) -> NDArray[Any]:
        cube = np.stack([x.reshape(grid.rows, grid.columns)[::-1, ::-1] for x in values]).astype(dtype)
        return cube if len(values) > 1 else cube[0]

    head = write_header(grid, coord)
    first = fits.PrimaryHDU(image(planes), header=head)
    if unit:
        first.header["BUNIT"] = unit
    if len(planes) == 3:
        first.header["CTYPE3"], first.header["POLCCONV"] = "STOKES", "COSMO"
        first.header["CRVAL3"] = first.header["CRPIX3"] = first.header["CDELT3"] = 1.0
    for record in history:
        first.header["HISTORY"] = f"cmbfit: {record['step']}"
    hdus = fits.HDUList([first])
    if weight is not None:
        hdus.append(fits.ImageHDU(image([weight]), header=head, name="WEIGHT"))
    text = [json.dumps(record, allow_nan=False) for record in history] or ["{}"]
    column = fits.Column(name="JSON", format=f"{max(map(len, text))}A", array=np.array(text))
    hdus.append(fits.BinTableHDU.from_columns([column], name=STEPS))
    for hdu in hdus:
        hdu.add_checksum(when="")  # the time of writing would make equal products differ
    with atomic_file(path) as f:
        hdus.writeto(f)
