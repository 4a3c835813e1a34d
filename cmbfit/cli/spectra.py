"""``cmbfit spectra``: power spectra of a user's own maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmbfit.cli.spectra_inputs import (
    Declared,
    MaskFiles,
    make_bins,
    read_beams,
    read_maps,
    read_masks,
    white_noise,
)  # fmt: skip
from cmbfit.cli.words import say
from cmbfit.errors import SpectrumError
from cmbfit.io import publish_record, sha256_file

if TYPE_CHECKING:
    from cmbfit.sky.maps import Array, Mask, StokesMap
    from cmbfit.spectra.binning import Bins
    from cmbfit.spectra.estimate import Estimate
    from cmbfit.spectra.fields import Field, Noise
    from cmbfit.spectra.master import Master, Spectra, Transfer
    from cmbfit.spectra.templates import Templates

_AUTO = ("tt", "te", "ee", "bb", "tb", "eb")
_CROSS = (*_AUTO, "et", "bt", "be")
_FITS = (".fits", ".sacc")


def spectra(
    map_a: Annotated[
        Path, typer.Argument(metavar="MAP", help="HEALPix or CAR FITS file with I, Q, U, or with I alone.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help=".txt or .dat: text; .fits or .sacc: SACC.")],
    mask: Annotated[
        Path | None,
        typer.Option(
            help="FITS file of weights from 0 to 1 on the grid of the maps; the full sky if omitted."
        ),
    ] = None,
    map_b: Annotated[
        Path | None, typer.Argument(metavar="[MAP2]", help="A second map with noise of its own.")
    ] = None,
    mask_p: Annotated[Path | None, typer.Option(help="Mask of Q and U, if another one than of I.")] = None,
    mask2: Annotated[Path | None, typer.Option(help="Mask of MAP2, if another one than of MAP.")] = None,
    mask2_p: Annotated[
        Path | None, typer.Option(help="Mask of Q and U of MAP2, if another one than --mask2.")
    ] = None,
    mask_column: Annotated[
        str | None, typer.Option(help="Column of the masks, where a file has several: GAL040, or 2 from 0.")
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
    pixwin: Annotated[
        bool, typer.Option(help="Divide by the pixel windows: HEALPix's, or of order 0 of CAR.")
    ] = True,
    lmax: Annotated[
        int | None,
        typer.Option(
            help="Highest multipole of the bins; if omitted 2 nside, or a third of the pixels of a CAR ring."
        ),
    ] = None,
    bin_width: Annotated[int | None, typer.Option(help="Width of bins from l = 2; 30 if omitted.")] = None,
    bins: Annotated[
        Path | None, typer.Option(help="Text file of bin edges: each bin from one edge up to the next.")
    ] = None,
    weighting: Annotated[
        str | None,
        typer.Option(
            help="In a bin: dl (each D_l alike, the default), cl (each C_l by its modes, the default of --cl) or uniform "
            "(each C_l alike; a flat C_l comes back as itself)."
        ),
    ] = None,
    purify_b: Annotated[
        bool, typer.Option("--purify-b", help="Pure B modes; the mask must be apodised.")
    ] = False,
    iterations: Annotated[int, typer.Option(min=0, help="Iterations of the transforms of maps.")] = 0,
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
        str | None,
        typer.Option(help="Unit of the maps where their headers do not say: K, mK, uK, K_RJ, MJy/sr."),
    ] = None,
    frequency: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GHZ|FILE[@GHZ]",
            help="For K_RJ and MJy/sr: GHz, or the file of a bandpass (MJy/sr: FILE@545); twice for MAP and MAP2.",
        ),
    ] = None,
    coord: Annotated[
        str | None,
        typer.Option(
            help="Coordinates where the headers do not say: G, C, E; a mask that does not say has the maps'."
        ),
    ] = None,
    ordering: Annotated[
        str | None, typer.Option(help="Ordering where the headers do not say: RING, NESTED.")
    ] = None,
    polcconv: Annotated[
        str | None,
        typer.Option(
            help="Sign of U where the headers do not say: COSMO (HEALPix if omitted), IAU; CAR maps must say."
        ),
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
    bin: compare with window @ D_l of OUT.windows.fits beside text, of SACC. Maps of I alone give TT alone.

    Example: cmbfit spectra half1.fits half2.fits --mask mask.fits --fwhm-arcmin 7.1 --bin-width 30
    --theory theory.txt -o spectra.txt
    """
    two, as_sacc = map_b is not None, output.suffix.lower() in _FITS
    _check_output(output, two=two, theory=theory is not None, cl=cl)
    if noise_uk_arcmin and theory is None:
        raise SpectrumError("--noise-uk-arcmin is for errors: give --theory FILE as well")
    paths = [p for p in (map_a, map_b) if p is not None]
    declared = Declared(unit, coord, ordering, polcconv, tuple(frequency or ()))
    maps = read_maps(paths, declared)
    given = MaskFiles(mask, mask_p, mask2, mask2_p, mask_column)
    weights, notes = read_masks(given, maps, declared)
    maps = _prepared(maps, weights, keep_dipole=keep_dipole)
    if two and sha256_file(paths[0]) == sha256_file(paths[1]):
        raise SpectrumError(
            f"{map_a} and {map_b} are one map, whose noise would be in the spectra: give two with independent noise, or one"
        )
    grid = maps[0].grid
    edges = make_bins(grid, lmax, bin_width, bins, weighting=weighting or ("cl" if cl else "dl"))
    of_i = [of_t for of_t, _ in weights]
    beams = read_beams(of_i, fwhm_arcmin, beam, beam_columns, need=edges.lmax, pixwin=pixwin)
    from cmbfit.spectra.master import Transfer  # noqa: PLC0415 (seconds of imports: not for `--help`)

    notes += list(dict.fromkeys(note for b in beams for note in b.notes))
    work = _Work(maps, weights, edges, [Transfer(b.t, b.e) for b in beams], purify_b, iterations, threads)
    settings: dict[str, Any] = {
        "edges": list(edges.edges), "weighting": edges.weighting, "fwhm_arcmin": fwhm_arcmin, "pixwin": pixwin,
        "beam": [str(b) for b in beam or ()], "beam_columns": beam_columns, "purify_b": purify_b,
        "iterations": iterations, "frequency": frequency, "keep_dipole": keep_dipole, "notes": notes,
        "noise_uk_arcmin": noise_uk_arcmin, "steps": [list(m.history) for m in maps],
    }  # fmt: skip
    if theory is None:
        values, master, errors = *work.bandpowers(), None
    else:
        estimate, said = work.estimate(theory, white_noise(noise_uk_arcmin, grid))
        notes += [*said, *estimate.info["notes"]]
        values, master, errors = dict(estimate.bandpowers), estimate.master, estimate.errors
    settings["lmax_coupling"] = master.lmax
    if as_sacc:
        from cmbfit.spectra import write_spectra  # noqa: PLC0415

        write_spectra(output, estimate, settings)
    else:
        from cmbfit.spectra.text import write_text  # noqa: PLC0415

        shown = {n: values[n] for n in (_CROSS if two else _AUTO) if n in values}
        write_text(output, edges, shown, master.windows, errors, in_cl=cl)
    files = (*paths, mask, mask_p, mask2, mask2_p, theory, bins, *(beam or ()))
    publish_record(output, inputs=[p for p in files if p is not None], settings=settings)
    for note in notes:
        say(f"note: {note}", err=True)
    bias = "no noise bias" if two else "noise included"
    say(f"wrote {output}: {edges.n} bins, l = {edges.edges[0]}..{edges.lmax}, {bias}", err=True)


def _check_output(output: Path, *, two: bool, theory: bool, cl: bool) -> None:
    as_sacc = output.suffix.lower() in _FITS
    if output.suffix.lower() not in (*_FITS, ".txt", ".dat"):
        raise SpectrumError(f"--output {output}: expected a name in .txt, .dat, .fits or .sacc")
    if (theory or as_sacc) and not two:
        raise SpectrumError(
            "errors and SACC need two maps with independent noise: the auto-spectrum of one map holds its noise"
        )
    if as_sacc and (not theory or cl):
        raise SpectrumError("SACC holds D_l with their covariance: give --theory FILE, and no --cl")


def _prepared(
    maps: list[StokesMap], weights: list[tuple[Mask, Mask]], *, keep_dipole: bool
) -> list[StokesMap]:
    """Return maps that share their masks' grids, without monopole and dipole, of different names."""
    from cmbfit.sky import remove_monopole_dipole  # noqa: PLC0415
    from cmbfit.sky.maps import check_together  # noqa: PLC0415

    out = []
    for stokes, both in zip(maps, weights, strict=True):
        for w in both:
            check_together(stokes, w)
        out.append(stokes if keep_dipole else remove_monopole_dipole(stokes, both[0]))
    if len(out) > 1 and out[0].name == out[1].name:
        out = [m.step({"step": "rename"}, name=f"{m.name}_{k}") for k, m in enumerate(out, 1)]
    return out


class _Work:
    """What is estimated: maps with their masks and transfer functions."""

    def __init__(
        self,
        maps: list[StokesMap],
        masks: list[tuple[Mask, Mask]],
        bins: Bins,
        transfers: list[Transfer],
        purify_b: bool,
        iterations: int,
        threads: int,
    ) -> None:
        self.maps, self.masks, self.bins, self.transfers = maps, masks, bins, transfers
        self.how: dict[str, Any] = {"purify_b": purify_b, "iterations": iterations}
        self.threads = threads

    def _fields(self) -> list[Field]:
        from cmbfit.spectra.fields import Field  # noqa: PLC0415

        return [
            Field(str(k), [m], of_t, transfer, mask_p=of_p, filters=taken, **self.how)
            for k, (m, (of_t, of_p), transfer, taken) in enumerate(
                zip(self.maps, self.masks, self.transfers, self._filters(), strict=True)
            )
        ]

    def _filters(self) -> list[Templates | None]:
        """Return what was taken off each map under its own mask of I."""
        from cmbfit.spectra.templates import filtered_steps, monopole_dipole  # noqa: PLC0415

        both = zip(self.maps, self.masks, strict=True)
        return [monopole_dipole(of_t) if filtered_steps(m) else None for m, (of_t, _) in both]

    def bandpowers(self) -> tuple[dict[str, Array], Master]:
        """Return the bandpowers without errors, and what made them."""
        from cmbfit.spectra.fields import require_common_sky, spectra_of  # noqa: PLC0415
        from cmbfit.spectra.multi import coupling_lmax, field_alms, prepare_pair  # noqa: PLC0415
        from cmbfit.spectra.transforms import pseudo_spectra  # noqa: PLC0415

        fields = self._fields()
        one, two = fields[0], fields[-1]
        lmax = coupling_lmax(one.mask.grid, self.bins)
        require_common_sky(one, two)
        master = prepare_pair(one, two, self.bins, lmax, nthreads=self.threads)
        alms = [field_alms(f, lmax, nthreads=self.threads)[0] for f in fields]
        found = master.decouple(pseudo_spectra(alms[0], alms[-1]))
        return {n: found[n] for n in spectra_of(one, two)}, master

    def estimate(self, theory: Path, noise: tuple[Noise, Noise] | None) -> tuple[Estimate, tuple[str, ...]]:
        """Return the bandpowers of two maps with their covariance, and what was assumed of the theory.

        Parameters
        ----------
        noise : pair of Noise, optional
            Measured when omitted.
        """
        from cmbfit.spectra.estimate import cross_spectra  # noqa: PLC0415
        from cmbfit.spectra.multi import coupling_lmax  # noqa: PLC0415
        from cmbfit.spectra.reach import continued_theory  # noqa: PLC0415
        from cmbfit.theory.textfile import read_arrays  # noqa: PLC0415

        dl: Spectra
        top = max(coupling_lmax(self.maps[0].grid, self.bins), self.bins.lmax)
        dl, notes = continued_theory(read_arrays(theory), self.bins.lmax, top)
        (mask_a, mask_a_p), (mask_b, mask_b_p) = self.masks
        filters_a, filters_b = self._filters()
        estimate = cross_spectra(
            self.maps[0], self.maps[1], mask_a, mask_p=mask_a_p, mask_b=mask_b, mask_b_p=mask_b_p, bins=self.bins,
            transfer_a=self.transfers[0], transfer_b=self.transfers[1], fiducial_dl=dl, nthreads=self.threads,
            filters_a=filters_a, filters_b=filters_b, noise=noise, **self.how,
        )  # fmt: skip
        return estimate, notes
