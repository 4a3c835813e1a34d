from __future__ import annotations

import sys
from pathlib import Path

from cmbfit.io import publish_record, require_sha256
from cmbfit.sky import Beam, read_mask_product, read_pixel_window, read_product
from cmbfit.spectra import Bins, Transfer, cross_spectra, monopole_dipole, write_spectra
from cmbfit.spectra.reach import continued_theory
from cmbfit.theory.textfile import read_arrays
from pipeline.record import recorded


def estimate_spectra(
    *,
    map_a: Path,
    map_b: Path,
    mask: Path,
    fiducial: Path,
    pixel_window: Path,
    fwhm_arcmin_a: float,
    fwhm_arcmin_b: float,
    edges: list[int],
    output: Path,
    name_a: str = "V",
    name_b: str = "W",
    pixel_window_sha256: str | None = None,
    weighting: str = "dl",
    iterations: int = 0,
) -> None:
    """Estimate the nine cross-spectra of two prepared maps and publish them as SACC.

    Parameters
    ----------
    map_a
        Product of prepare_maps: without monopole and dipole of I under `mask`.
    map_b
        The same.
    mask
        Product of prepare_mask.
    fiducial
        Table of D_l (uK^2): ell tt te ee bb ...
    pixel_window
        HEALPix pixel_window_n*.fits.
    fwhm_arcmin_a
        Gaussian beam of the first map.
    fwhm_arcmin_b
        Gaussian beam of the second map.
    edges
        Half-open bins in multipole.
    output
        Where the spectra go (SACC).
    name_a
        Name of the first map.
    name_b
        Name of the second map.
    pixel_window_sha256
        What the pixel-window file must be.
    weighting
        Of multipoles in a bin: dl, cl, uniform.
    iterations
        Of the transforms.
    """
    given = recorded(locals())
    require_sha256(pixel_window, pixel_window_sha256)
    sky = read_mask_product(mask, name="mask")
    top = 3 * sky.nside - 1
    window = read_pixel_window(pixel_window, top)
    beams = [Beam.gaussian(top, fwhm) for fwhm in (fwhm_arcmin_a, fwhm_arcmin_b)]
    transfer_a, transfer_b = (Transfer(beam.t * window[0], beam.p * window[1]) for beam in beams)
    bins = Bins(edges, weighting)
    dl, notes = continued_theory(read_arrays(fiducial), bins.lmax, top)
    estimate = cross_spectra(
        read_product(map_a, name_a),
        read_product(map_b, name_b),
        sky,
        bins=bins,
        transfer_a=transfer_a,
        transfer_b=transfer_b,
        fiducial_dl=dl,
        iterations=iterations,
        filters_a=monopole_dipole(sky),
        filters_b=monopole_dipole(sky),
    )
    notes += tuple(estimate.info["notes"])
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    write_spectra(output, estimate, settings=given)
    inputs = [map_a, map_b, mask, fiducial, pixel_window]
    publish_record(output, inputs=inputs, settings=given, facts=dict(estimate.info), notes=list(notes))
