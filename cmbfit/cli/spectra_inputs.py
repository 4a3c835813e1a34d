"""What ``cmbfit spectra`` reads: masks, bins, beams, noise; every word that makes no sense is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbfit.errors import MapError, SpectrumError
from cmbfit.io import reading

if TYPE_CHECKING:
    from cmbfit.sky.beam_columns import Columns
    from cmbfit.sky.beams import Beam
    from cmbfit.sky.maps import Mask, StokesMap
    from cmbfit.sky.pixelisation import Pixelisation
    from cmbfit.sky.units import Frequency
    from cmbfit.spectra.binning import Bins
    from cmbfit.spectra.fields import Noise


@dataclass(frozen=True)
class Declared:
    """What the headers of maps and masks do not say."""

    unit: str | None
    coord: str | None
    ordering: str | None
    polcconv: str | None
    frequency: tuple[str, ...]


@dataclass(frozen=True)
class MaskFiles:
    """The masks that were given."""

    mask: Path | None
    mask_p: Path | None
    mask2: Path | None
    mask2_p: Path | None
    column: str | None


def read_maps(paths: Sequence[Path], declared: Declared) -> list[StokesMap]:
    """Return the maps."""
    from cmbfit.sky import read_stokes  # noqa: PLC0415
    from cmbfit.sky.bandpass import read_frequency  # noqa: PLC0415

    words = declared.frequency
    if len(words) > len(paths):
        raise SpectrumError(f"{len(words)} --frequency for {len(paths)} maps")
    said: list[Frequency | None] = [read_frequency(w) for w in words] or [None]
    return [
        read_stokes(
            path,
            name=path.stem,
            unit=declared.unit,
            coord=declared.coord,
            ordering=declared.ordering,
            polcconv=declared.polcconv,
            frequency=said[k % len(said)],
        )
        for k, path in enumerate(paths)
    ]


def read_masks(
    given: MaskFiles, maps: Sequence[StokesMap], declared: Declared
) -> tuple[list[tuple[Mask, Mask]], list[str]]:
    """Return the masks of I and of Q, U of each map, and what was assumed."""
    from cmbfit.sky import full_sky, read_mask  # noqa: PLC0415

    two = len(maps) > 1
    if given.mask2 is not None and not two:
        raise SpectrumError("--mask2 is the mask of a second map, and there is one map only")
    if given.mask2 is None and given.mask2_p is not None:
        raise SpectrumError("--mask2-p is the mask of Q and U beside --mask2: give --mask2 as well")
    if given.mask is None and (given.mask_p or given.mask2 or given.column):
        raise SpectrumError("--mask-p, --mask2 and --mask-column stand beside --mask: give --mask as well")
    if given.mask is None:
        whole = full_sky(maps[0].grid, maps[0].coord)
        used = (
            "the full sky is used"
            if maps[0].grid.covers_sky
            else "every pixel of the map is used, to its edges"
        )
        return [(whole, whole)] * len(maps), [f"no --mask: {used}"]
    files = [(given.mask, given.mask_p or given.mask)]
    if two:
        files.append(files[0] if given.mask2 is None else (given.mask2, given.mask2_p or given.mask2))
    column = int(given.column) if given.column and given.column.isdecimal() else given.column
    of = {
        p: read_mask(
            p,
            name=p.name,
            coord=declared.coord,
            ordering=declared.ordering,
            column=column,
            otherwise=maps[0].coord,
        )
        for p in dict.fromkeys(p for pair in files for p in pair)
    }
    silent = [p.name for p, m in of.items() if str(m.history[0].get("coord_source")).startswith("absent")]
    notes = (
        [f"{', '.join(silent)}: no COORDSYS, taken to be that of the maps ({maps[0].coord})"]
        if silent
        else []
    )
    return [(of[one], of[two]) for one, two in files], notes


def make_bins(
    grid: Pixelisation, lmax: int | None, width: int | None, path: Path | None, weighting: str
) -> Bins:
    """Return the bins of --bins, or of --bin-width up to --lmax."""
    import numpy as np  # noqa: PLC0415

    from cmbfit.spectra.binning import Bins  # noqa: PLC0415

    if path is not None and (width is not None or lmax is not None):
        raise SpectrumError("--bins FILE says where all bins are: give it without --bin-width and --lmax")
    top = grid.lmax
    if path is None:
        lmax = grid.default_lmax if lmax is None else lmax
        if not 2 <= lmax <= top:
            raise SpectrumError(
                f"--lmax {lmax}: maps of {grid.name} support 2 to {top} ({grid.lmax_in_words})"
            )
        return Bins.linear(2, lmax, 30 if width is None else width, weighting)
    with reading(path, "one bin edge a line", SpectrumError):
        edges = np.loadtxt(path, ndmin=1)
    if edges.ndim != 1 or not np.isfinite(edges).all() or (edges != np.rint(edges)).any():
        raise SpectrumError(
            f"{path}: expected one whole number a line, found an array of shape {edges.shape}"
        )
    if (highest := edges.max(initial=0) - 1) > top:
        raise SpectrumError(
            f"{path}: bins up to l = {highest:g}; maps of {grid.name} support {top} ({grid.lmax_in_words})"
        )
    return Bins([int(e) for e in edges], weighting)


def read_beams(
    masks: Sequence[Mask],
    fwhm: list[float] | None,
    files: list[Path] | None,
    columns: list[str] | None,
    *,
    need: int,
    pixwin: bool,
) -> list[Beam]:
    """Return beam times pixel window of each map; files must reach the multipole `need`.

    Parameters
    ----------
    masks : sequence of Mask
        Of I of each map: of its grid, and a CAR grid's pixel window depends on the latitudes that are seen.
    """
    from cmbfit import data  # noqa: PLC0415
    from cmbfit.sky.beam_columns import parse_columns  # noqa: PLC0415
    from cmbfit.sky.beam_files import read_beam  # noqa: PLC0415
    from cmbfit.sky.beams import Beam  # noqa: PLC0415
    from cmbfit.sky.car import Car  # noqa: PLC0415
    from cmbfit.sky.pixelisation import Healpix  # noqa: PLC0415

    if (not fwhm) == (not files):
        raise SpectrumError("the beam: give either --fwhm-arcmin (0 for none) or --beam FILE")
    n, grid = len(masks), masks[0].grid
    given: list[Any] = list(fwhm or files or ())
    if len(given) > n:
        raise SpectrumError(f"{len(given)} beams for {n} maps")
    if columns and not files:
        raise SpectrumError("--beam-columns are those of --beam FILE: give both")
    if columns and len(columns) not in {1, len(given)}:
        raise SpectrumError(f"{len(columns)} --beam-columns for {len(given)} beams: give one, or one each")
    said: list[Columns | None] = [parse_columns(c) for c in columns or ()] or [None]
    top = grid.lmax if isinstance(grid, Healpix) else grid.coupling_lmax(need)
    out = []
    for k, source in enumerate(given if len(given) == n else given * n):
        if not isinstance(source, Path):
            b = Beam.gaussian(top, source)
        else:
            b = read_beam(source, top, need=need, columns=said[k % len(said)])
        if pixwin and isinstance(grid, Car):
            window = grid.window(masks[k].weights, top)
            b = b * Beam(window, window, window)
        elif pixwin:
            name = f"pixel_windows/pixel_window_n{masks[k].nside:04d}.fits"
            if name not in data.load_registry():
                raise MapError(f"no pixel window of nside {masks[k].nside} is registered: use --no-pixwin")
            b = b.times_pixel_window(data.fetch(name))
        out.append(b)
    return out


def white_noise(levels: list[float] | None, grid: Pixelisation) -> tuple[Noise, Noise] | None:
    """Return white noise of both maps from that of I in uK arcmin; None where it is to be measured."""
    import numpy as np  # noqa: PLC0415

    from cmbfit.spectra.fields import Noise  # noqa: PLC0415

    if not levels:
        return None
    if len(levels) > 2 or not (np.isfinite(levels).all() and min(levels) >= 0):
        raise SpectrumError(f"--noise-uk-arcmin: expected one or two levels from zero, found {levels}")
    cl = [np.full(grid.lmax + 1, (x * np.pi / 10800) ** 2) for x in levels]
    return Noise(cl[0], 2 * cl[0]), Noise(cl[-1], 2 * cl[-1])
