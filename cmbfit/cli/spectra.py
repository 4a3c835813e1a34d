"""``cmbfit spectra``: power spectra of a user's own maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmbfit.cli.spectra_inputs import make_bins, read_beams, read_masks, require_same_grid
from cmbfit.errors import SpectrumError
from cmbfit.io import publish_record, sha256_file

if TYPE_CHECKING:
    from cmbfit.sky.maps import Array, Mask, StokesMap
    from cmbfit.spectra.binning import Bins
    from cmbfit.spectra.estimate import Estimate
    from cmbfit.spectra.master import Master, Spectra, Transfer

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
        typer.Option(help="File of b_l, text or FITS, columns by their names; twice for MAP and MAP2."),
    ] = None,
    beam_columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="t=COLUMN,...",
            help="Columns of --beam where names do not say: t=, then e= and b=, or p=; a name, number from 1 or HDU:NAME.",
        ),
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
    unit: Annotated[
        str | None, typer.Option(help="Unit of the maps where their headers do not say: K, mK, uK.")
    ] = None,
    coord: Annotated[
        str | None, typer.Option(help="Coordinates where the headers do not say: G, C, E.")
    ] = None,
    ordering: Annotated[
        str | None, typer.Option(help="Ordering where the headers do not say: RING, NESTED.")
    ] = None,
    polcconv: Annotated[
        str | None,
        typer.Option(help="Sign of U where the headers do not say: COSMO (if omitted), IAU."),
    ] = None,
    keep_dipole: Annotated[
        bool, typer.Option("--keep-dipole", help="Do not fit and remove monopole and dipole.")
    ] = False,
    threads: Annotated[int, typer.Option(help="Threads of the transforms.")] = 1,
) -> None:
    """Estimate power spectra of Stokes maps under a mask: TT, TE, EE, BB, TB, EB, and ET, BT, BE of two maps.

    With MAP alone its noise is part of the auto-spectra; with MAP2, whose noise must be independent, it is
    not. Mode coupling and E-B leakage of the mask, beams and pixel windows are undone (MASTER). Bandpowers
    are of D_l = l(l+1)C_l/2pi in uK^2; text has one header line with the columns' names; errors
    (err_tt, ...) need two maps and --theory, and so does SACC. A bandpower is not the plain mean of D_l in its
    bin: compare with window @ D_l of OUT.windows.fits beside text, of SACC.

    Example: cmbfit spectra half1.fits half2.fits --mask mask.fits --fwhm-arcmin 7.1 --bin-width 30
    --theory theory.txt -o spectra.txt
    """
    import numpy as np  # noqa: PLC0415 (seconds of imports: not for `--help`)

    from cmbfit.sky import read_stokes, remove_monopole_dipole  # noqa: PLC0415
    from cmbfit.spectra.master import Transfer  # noqa: PLC0415
    from cmbfit.spectra.reach import continued_theory  # noqa: PLC0415
    from cmbfit.spectra.text import write_text  # noqa: PLC0415
    from cmbfit.theory.textfile import read_arrays  # noqa: PLC0415

    as_sacc = output.suffix.lower() in _FITS
    if output.suffix.lower() not in (*_FITS, ".txt", ".dat"):
        raise SpectrumError(f"--output {output}: expected a name in .txt, .dat, .fits or .sacc")
    if (theory is not None or as_sacc) and map_b is None:
        raise SpectrumError(
            "errors and SACC need two maps with independent noise: the auto-spectrum of one map holds its noise"
        )
    if as_sacc and (theory is None or cl):
        raise SpectrumError("SACC holds D_l with their covariance: give --theory FILE, and no --cl")
    weights = read_masks(mask, mask_p, mask2, mask2_p, two=map_b is not None, coord=coord, ordering=ordering)
    maps: list[StokesMap] = []
    for k, path in enumerate(p for p in (map_a, map_b) if p is not None):
        stokes = read_stokes(
            path, name=path.stem, unit=unit, coord=coord, ordering=ordering, polcconv=polcconv
        )
        for w in weights[k]:
            require_same_grid(stokes, w)
        maps.append(stokes if keep_dipole else remove_monopole_dipole(stokes, weights[k][0]))
    if map_b is not None and sha256_file(map_a) == sha256_file(map_b):
        raise SpectrumError(
            f"{map_a} and {map_b} are one map, whose noise would be in the spectra: give two with independent noise, or one"
        )
    if len(maps) > 1 and maps[0].name == maps[1].name:
        maps = [m.step({"step": "rename"}, name=f"{m.name}_{k}") for k, m in enumerate(maps, 1)]
    nside = weights[0][0].nside
    edges = make_bins(nside, lmax, bin_width, bins, weighting="cl" if cl else "dl")
    beams = read_beams(nside, len(maps), fwhm_arcmin, beam, beam_columns, need=edges.lmax, pixwin=pixwin)
    transfers = [Transfer(b.t, b.e) for b in beams]
    notes = list(dict.fromkeys(note for b in beams for note in b.notes))
    if theory is None:
        values, master = _bandpowers(maps, weights, edges, transfers, purify_b=purify_b, threads=threads)
        errors, estimate = None, None
    else:
        dl, said = continued_theory(read_arrays(theory), edges.lmax, 3 * nside - 1)
        notes += said
        estimate = _estimate(maps, weights, edges, transfers, dl, purify_b=purify_b, threads=threads)
        values, master = dict(estimate.bandpowers), estimate.master
        sd = np.sqrt(np.diag(estimate.covariance)).reshape(len(values), -1)
        errors = dict(zip(values, sd, strict=True))
    settings = {
        "lmax_coupling": master.lmax, "edges": list(edges.edges), "fwhm_arcmin": fwhm_arcmin, "pixwin": pixwin,
        "beam": [str(b) for b in beam or ()], "beam_columns": beam_columns, "purify_b": purify_b,
        "keep_dipole": keep_dipole, "notes": notes, "steps": [list(m.history) for m in maps],
    }  # fmt: skip
    if as_sacc and estimate is not None:
        from cmbfit.spectra import write_spectra  # noqa: PLC0415

        write_spectra(output, estimate, settings)
    else:
        names = _AUTO if len(maps) == 1 else _CROSS
        write_text(output, edges, {n: values[n] for n in names}, master.windows, errors, in_cl=cl)
    files = (map_a, map_b, mask, mask_p, mask2, mask2_p, theory, bins, *(beam or ()))
    inputs = [p for p in files if p is not None]
    publish_record(output, inputs=inputs, settings=settings)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    noise = "noise included" if len(maps) == 1 else "no noise bias"
    typer.echo(f"wrote {output}: {edges.n} bins, l = {edges.edges[0]}..{edges.lmax}, {noise}", err=True)


def _bandpowers(
    maps: list[StokesMap],
    masks: list[tuple[Mask, Mask]],
    bins: Bins,
    transfers: list[Transfer],
    *,
    purify_b: bool,
    threads: int,
) -> tuple[dict[str, Array], Master]:
    """Return the bandpowers without errors, and what made them."""
    from cmbfit.spectra.fields import Field, require_common_sky  # noqa: PLC0415
    from cmbfit.spectra.mask_couplings import MaskCouplings  # noqa: PLC0415
    from cmbfit.spectra.master import prepare  # noqa: PLC0415
    from cmbfit.spectra.multi import coupling_lmax, field_alms  # noqa: PLC0415
    from cmbfit.spectra.transforms import pseudo_spectra  # noqa: PLC0415

    lmax = coupling_lmax(masks[0][0].nside, bins)
    fields = [
        Field(str(k), [m], of_t, transfer, purify_b=purify_b, mask_p=of_p)
        for k, (m, (of_t, of_p), transfer) in enumerate(zip(maps, masks, transfers, strict=True))
    ]
    one, two = fields[0], fields[-1]
    require_common_sky(one, two)
    master = prepare(
        one.mask,
        bins,
        one.transfer,
        two.transfer,
        lmax,
        pure=(purify_b, purify_b),
        mask_coupling=MaskCouplings(lmax, threads).pair(one, two),
        nthreads=threads,
    )
    alms = [field_alms(f, lmax, nthreads=threads)[0] for f in fields]
    return master.decouple(pseudo_spectra(alms[0], alms[-1])), master


def _estimate(
    maps: list[StokesMap],
    masks: list[tuple[Mask, Mask]],
    bins: Bins,
    transfers: list[Transfer],
    dl: Spectra,
    *,
    purify_b: bool,
    threads: int,
) -> Estimate:
    from cmbfit.spectra.estimate import cross_spectra  # noqa: PLC0415

    (mask_a, mask_a_p), (mask_b, mask_b_p) = masks
    return cross_spectra(
        maps[0], maps[1], mask_a, mask_p=mask_a_p, mask_b=mask_b, mask_b_p=mask_b_p, bins=bins,
        transfer_a=transfers[0], transfer_b=transfers[1], fiducial_dl=dl, purify_b=purify_b,
        nthreads=threads,
    )  # fmt: skip
