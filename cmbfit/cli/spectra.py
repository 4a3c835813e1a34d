"""``cmbfit spectra``: power spectra of a user's own maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmbfit.cli.words import say
from cmbfit.errors import MapError, SpectrumError
from cmbfit.io import atomic_file, publish_record, reading, sha256_file

if TYPE_CHECKING:
    import numpy as np

    from cmbfit.sky.maps import Array, Mask, StokesMap
    from cmbfit.spectra.binning import Bins
    from cmbfit.spectra.estimate import Estimate
    from cmbfit.spectra.fields import Noise
    from cmbfit.spectra.master import Transfer
    from cmbfit.spectra.templates import Templates

_AUTO = ("tt", "te", "ee", "bb", "tb", "eb")
_CROSS = (*_AUTO, "et", "bt", "be")
_FITS = (".fits", ".sacc")


def spectra(
    map_a: Annotated[Path, typer.Argument(metavar="MAP", help="HEALPix FITS file with I, Q, U.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".txt or .dat: text; .fits or .sacc: SACC.")],
    mask: Annotated[Path, typer.Option(help="HEALPix FITS file of weights from 0 to 1.")],
    map_b: Annotated[
        Path | None, typer.Argument(metavar="[MAP2]", help="A second map with noise of its own.")
    ] = None,
    mask_p: Annotated[Path | None, typer.Option(help="Mask of Q and U, if another one than of I.")] = None,
    mask2: Annotated[Path | None, typer.Option(help="Mask of MAP2, if another one than of MAP.")] = None,
    mask2_p: Annotated[
        Path | None, typer.Option(help="Mask of Q and U of MAP2, if another one than --mask2.")
    ] = None,
    fwhm_arcmin: Annotated[
        list[float] | None, typer.Option(help="Gaussian beam; twice for MAP and MAP2; 0 for none.")
    ] = None,
    beam: Annotated[
        list[Path] | None,
        typer.Option(help="File of b_l: text 'l b_l [b_l of E and B]' or FITS; twice for MAP and MAP2."),
    ] = None,
    pixwin: Annotated[bool, typer.Option(help="Divide by HEALPix's pixel windows.")] = True,
    lmax: Annotated[
        int | None, typer.Option(help="Highest multipole of the bins; 2 nside if omitted.")
    ] = None,
    bin_width: Annotated[int | None, typer.Option(help="Width of bins from l = 2; 30 if omitted.")] = None,
    bins: Annotated[
        Path | None, typer.Option(help="Text file of bin edges: each bin from one edge up to the next.")
    ] = None,
    purify_b: Annotated[
        bool, typer.Option("--purify-b", help="Pure B modes; the mask must be apodised.")
    ] = False,
    cl: Annotated[bool, typer.Option("--cl", help="Write C_l in place of D_l (text only).")] = False,
    theory: Annotated[
        Path | None,
        typer.Option(
            help="Text file of D_l (`cmbfit theory` writes one): gives errors and, in SACC, the covariance."
        ),
    ] = None,
    noise_uk_arcmin: Annotated[
        list[float] | None,
        typer.Option(
            help="White noise of I (that of Q and U is sqrt 2 of it), once or for MAP and MAP2; measured if omitted."
        ),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Unit of the maps where their headers do not say: K, mK, uK.")
    ] = None,
    coord: Annotated[
        str | None, typer.Option(help="Coordinates where the headers do not say: G, C, E.")
    ] = None,
    ordering: Annotated[
        str | None, typer.Option(help="Ordering where the headers do not say: RING, NESTED.")
    ] = None,
    keep_dipole: Annotated[
        bool, typer.Option("--keep-dipole", help="Do not fit and remove monopole and dipole.")
    ] = False,
    threads: Annotated[int, typer.Option(help="Threads of the transforms.")] = 1,
) -> None:
    """Estimate power spectra of Stokes maps under a mask: TT, TE, EE, BB, TB, EB, and ET, BT, BE of two maps.

    With MAP alone its noise is part of the auto-spectra; with MAP2, whose noise must be independent, it is
    not. Mode coupling and E-B leakage of the mask, beams and pixel windows are undone (MASTER). Bins are
    means of D_l = l(l+1)C_l/2pi in uK^2; text has one header line with the columns' names; errors
    (err_tt, ...) need two maps and --theory, and so does SACC.

    Example: cmbfit spectra half1.fits half2.fits --mask mask.fits --fwhm-arcmin 7.1 --bin-width 30
    --theory theory.txt -o spectra.txt
    """
    import numpy as np  # noqa: PLC0415 (seconds of imports: not for `--help`)

    from cmbfit.sky import read_stokes, remove_monopole_dipole  # noqa: PLC0415

    as_sacc = output.suffix.lower() in _FITS
    if output.suffix.lower() not in (*_FITS, ".txt", ".dat"):
        raise SpectrumError(f"--output {output}: expected a name in .txt, .dat, .fits or .sacc")
    if noise_uk_arcmin and theory is None:
        raise SpectrumError("--noise-uk-arcmin is for errors: give --theory FILE as well")
    if (theory is not None or as_sacc) and map_b is None:
        raise SpectrumError(
            "errors and SACC need two maps with independent noise: the auto-spectrum of one map holds its noise"
        )
    if as_sacc and (theory is None or cl):
        raise SpectrumError("SACC holds D_l with their covariance: give --theory FILE, and no --cl")
    weights = _masks(mask, mask_p, mask2, mask2_p, two=map_b is not None, coord=coord, ordering=ordering)
    maps: list[StokesMap] = []
    for k, path in enumerate(p for p in (map_a, map_b) if p is not None):
        stokes = read_stokes(path, name=path.stem, unit=unit, coord=coord, ordering=ordering)
        for w in weights[k]:
            _same_grid(stokes, w)
        maps.append(stokes if keep_dipole else remove_monopole_dipole(stokes, weights[k][0]))
    if map_b is not None and sha256_file(map_a) == sha256_file(map_b):
        raise SpectrumError(
            f"{map_a} and {map_b} are one map, whose noise would be in the spectra: give two with independent noise, or one"
        )
    if len(maps) > 1 and maps[0].name == maps[1].name:
        maps = [m.step({"step": "rename"}, name=f"{m.name}_{k}") for k, m in enumerate(maps, 1)]
    nside = weights[0][0].nside
    edges = _bins(nside, lmax, bin_width, bins, weighting="cl" if cl else "dl")
    transfers = _transfers(nside, len(maps), fwhm_arcmin, beam, pixwin=pixwin)
    if theory is None:
        values, windows_lmax = _bandpowers(
            maps, weights, edges, transfers, purify_b=purify_b, threads=threads
        )
        errors, estimate = None, None
    else:
        noise = _noise(noise_uk_arcmin, nside)
        estimate = _estimate(
            maps, weights, edges, transfers, theory, purify_b=purify_b, noise=noise, threads=threads
        )
        _say(estimate)
        values, windows_lmax = dict(estimate.bandpowers), estimate.master.lmax
        sd = np.sqrt(np.diag(estimate.covariance)).reshape(len(values), -1)
        errors = dict(zip(values, sd, strict=True))
    settings = {
        "lmax_coupling": windows_lmax, "edges": list(edges.edges), "fwhm_arcmin": fwhm_arcmin, "pixwin": pixwin,
        "beam": [str(b) for b in beam or ()], "purify_b": purify_b, "keep_dipole": keep_dipole,
        "noise_uk_arcmin": noise_uk_arcmin,
        "steps": [list(m.history) for m in maps],
    }  # fmt: skip
    if as_sacc and estimate is not None:
        from cmbfit.spectra import write_spectra  # noqa: PLC0415

        write_spectra(output, estimate, settings)
    else:
        names = _AUTO if len(maps) == 1 else _CROSS
        _write_text(output, edges, {n: values[n] for n in names}, errors, in_cl=cl)
    files = (map_a, map_b, mask, mask_p, mask2, mask2_p, theory, bins, *(beam or ()))
    inputs = [p for p in files if p is not None]
    publish_record(output, inputs=inputs, settings=settings)
    remark = "noise included" if len(maps) == 1 else "no noise bias"
    say(f"wrote {output}: {edges.n} bins, l = {edges.edges[0]}..{edges.lmax}, {remark}", err=True)


def _say(estimate: Estimate) -> None:
    for note in estimate.info["notes"]:
        say(f"note: {note}", err=True)


def _masks(
    mask: Path, mask_p: Path | None, mask2: Path | None, mask2_p: Path | None, *, two: bool, **declared: Any
) -> list[tuple[Mask, Mask]]:
    """Return the masks of I and of Q, U of each map."""
    from cmbfit.sky import read_mask  # noqa: PLC0415

    if mask2 is not None and not two:
        raise SpectrumError("--mask2 is the mask of a second map, and there is one map only")
    if mask2 is None and mask2_p is not None:
        raise SpectrumError("--mask2-p is the mask of Q and U beside --mask2: give --mask2 as well")
    files = [(mask, mask_p or mask)]
    if two:
        files.append(files[0] if mask2 is None else (mask2, mask2_p or mask2))
    of = {p: read_mask(p, name=p.name, **declared) for p in dict.fromkeys(p for pair in files for p in pair)}
    return [(of[one], of[two]) for one, two in files]


def _same_grid(stokes: StokesMap, mask: Mask) -> None:
    from cmbfit.sky.maps import check_together  # noqa: PLC0415

    check_together(stokes, mask)


def _bins(nside: int, lmax: int | None, width: int | None, path: Path | None, weighting: str) -> Bins:
    import numpy as np  # noqa: PLC0415

    from cmbfit.spectra.binning import Bins  # noqa: PLC0415

    if path is not None and (width is not None or lmax is not None):
        raise SpectrumError("--bins FILE says where all bins are: give it without --bin-width and --lmax")
    top = 3 * nside - 1
    if path is None:
        lmax = 2 * nside if lmax is None else lmax
        if not 2 <= lmax <= top:
            raise SpectrumError(f"--lmax {lmax}: maps of nside {nside} support 2 to {top} (3 nside - 1)")
        return Bins.linear(2, lmax, 30 if width is None else width, weighting)
    with reading(path, "one bin edge a line", SpectrumError):
        edges = np.loadtxt(path, ndmin=1)
    if edges.ndim != 1 or not np.isfinite(edges).all() or (edges != np.rint(edges)).any():
        raise SpectrumError(
            f"{path}: expected one whole number a line, found an array of shape {edges.shape}"
        )
    if (highest := edges.max(initial=0) - 1) > top:
        raise SpectrumError(
            f"{path}: bins up to l = {highest:g}; maps of nside {nside} support {top} (3 nside - 1)"
        )
    return Bins([int(e) for e in edges], weighting)


def _transfers(
    nside: int, n: int, fwhm: list[float] | None, files: list[Path] | None, *, pixwin: bool
) -> list[Transfer]:
    """Return beam times pixel window of each map."""
    from cmbfit import data  # noqa: PLC0415
    from cmbfit.sky.beams import Beam, read_beam_fits, read_beam_text  # noqa: PLC0415
    from cmbfit.spectra.master import Transfer  # noqa: PLC0415

    if (not fwhm) == (not files):
        raise SpectrumError("the beam: give either --fwhm-arcmin (0 for none) or --beam FILE")
    given: list[Any] = list(fwhm or files or ())
    if len(given) > n:
        raise SpectrumError(f"{len(given)} beams for {n} maps")
    top = 3 * nside - 1
    out = []
    for source in given if len(given) == n else given * n:
        if not isinstance(source, Path):
            b = Beam.gaussian(top, source)
        elif source.suffix.lower() in {".fits", ".fit"}:
            b = read_beam_fits(source, top)
        else:
            b = read_beam_text(source, top, _beam_columns(source))
        if pixwin:
            name = f"pixel_windows/pixel_window_n{nside:04d}.fits"
            if name not in data.load_registry():
                raise MapError(f"no pixel window of nside {nside} is registered: use --no-pixwin")
            b = b.times_pixel_window(data.fetch(name))
        out.append(Transfer(b.t, b.e))
    return out


def _noise(levels: list[float] | None, nside: int) -> tuple[Noise, Noise] | None:
    """Return white noise of both maps; None where it is to be measured."""
    import numpy as np  # noqa: PLC0415

    from cmbfit.spectra.fields import Noise  # noqa: PLC0415

    if not levels:
        return None
    if len(levels) > 2 or min(levels) < 0:
        raise SpectrumError(f"--noise-uk-arcmin: expected one or two levels from zero, found {levels}")
    cl = [np.full(3 * nside, (x * np.pi / 10800) ** 2) for x in levels]
    return Noise(cl[0], 2 * cl[0]), Noise(cl[-1], 2 * cl[-1])


def _beam_columns(path: Path) -> tuple[int, ...]:
    """Return the columns of T and, where the header names one, of E and B: a third column may be an error."""
    try:
        with path.open(encoding="utf-8") as f:
            words = f.readline().lstrip("#").lower().split()
    except (OSError, UnicodeDecodeError) as error:
        raise MapError(f"{path}: expected a text file of b_l, found: {error}") from error
    polarised = [k for k, w in enumerate(words) if w in {"p", "e", "pol", "b_l_p", "bl_p", "b_p"}]
    return (1, polarised[0]) if polarised else (1,)


def _bandpowers(
    maps: list[StokesMap],
    masks: list[tuple[Mask, Mask]],
    bins: Bins,
    transfers: list[Transfer],
    *,
    purify_b: bool,
    threads: int,
) -> tuple[dict[str, Array], int]:
    """Return the bandpowers without errors, and the lmax of the coupling."""
    from cmbfit.spectra.fields import Field, require_common_sky  # noqa: PLC0415
    from cmbfit.spectra.multi import coupling_lmax, field_alms, prepare_pair  # noqa: PLC0415
    from cmbfit.spectra.transforms import pseudo_spectra  # noqa: PLC0415

    lmax = coupling_lmax(masks[0][0].nside, bins)
    fields = [
        Field(str(k), [m], of_t, transfer, purify_b=purify_b, mask_p=of_p, filters=_filters(m, of_t))
        for k, (m, (of_t, of_p), transfer) in enumerate(zip(maps, masks, transfers, strict=True))
    ]
    one, two = fields[0], fields[-1]
    require_common_sky(one, two)
    master = prepare_pair(one, two, bins, lmax, nthreads=threads)
    alms = [field_alms(f, lmax, nthreads=threads)[0] for f in fields]
    return master.decouple(pseudo_spectra(alms[0], alms[-1])), lmax


def _filters(stokes: StokesMap, mask: Mask) -> Templates | None:
    """Return what was taken off a map under its own mask."""
    from cmbfit.spectra.templates import filtered_steps, monopole_dipole  # noqa: PLC0415

    return monopole_dipole(mask) if filtered_steps(stokes) else None


def _estimate(
    maps: list[StokesMap],
    masks: list[tuple[Mask, Mask]],
    bins: Bins,
    transfers: list[Transfer],
    theory: Path,
    *,
    purify_b: bool,
    noise: tuple[Noise, Noise] | None,
    threads: int,
) -> Estimate:
    from cmbfit.spectra.estimate import cross_spectra  # noqa: PLC0415
    from cmbfit.theory.textfile import read_arrays  # noqa: PLC0415

    (mask_a, mask_a_p), (mask_b, mask_b_p) = masks
    return cross_spectra(
        maps[0], maps[1], mask_a, mask_p=mask_a_p, mask_b=mask_b, mask_b_p=mask_b_p, bins=bins,
        transfer_a=transfers[0], transfer_b=transfers[1], fiducial_dl=read_arrays(theory), purify_b=purify_b,
        filters_a=_filters(maps[0], mask_a), filters_b=_filters(maps[1], mask_b), noise=noise, nthreads=threads,
    )  # fmt: skip


def _write_text(
    path: Path, bins: Bins, values: dict[str, Array], errors: dict[str, Array] | None, *, in_cl: bool
) -> None:
    import numpy as np  # noqa: PLC0415

    scale = _cl_over_dl(bins) if in_cl else np.ones(bins.n)
    columns = {"ell_eff": bins.centres} | {n: v * scale for n, v in values.items()}
    if errors is not None:
        columns |= {f"err_{n}": errors[n] * scale for n in values}
    with atomic_file(path) as f:
        np.savetxt(f, np.column_stack(list(columns.values())), header=" ".join(columns), fmt="%.10g")


def _cl_over_dl(bins: Bins) -> np.ndarray:
    """Return what turns D_b of mode-weighted bins into the mean of C_l over modes."""
    import numpy as np  # noqa: PLC0415

    from cmbfit.spectra.binning import dl_factor  # noqa: PLC0415

    modes = bins.indicator(bins.lmax)[:, 2:] * (2 * np.arange(2, bins.lmax + 1) + 1)
    return (modes / dl_factor(bins.lmax)[2:]).sum(axis=1) / modes.sum(axis=1)
