from __future__ import annotations

import math
from pathlib import Path

import healpy

from cmbfit.io import publish_record, read_json
from cmbfit.sky import Band, Beam, Noise, Simulation, write_product
from cmbfit.theory.textfile import read_arrays
from pipeline.record import recorded


def simulate_map(
    *,
    theory: Path,
    band: str,
    simulate: Path,
    fwhm_arcmin: float,
    pixel_window: Path,
    seed: int,
    output: Path,
) -> None:
    """Simulate one split of a sky of known cosmology and publish it as a map.

    Parameters
    ----------
    theory
        D_l of the sky.
    band
        Name of the band.
    simulate
        JSON: the band's section.
    fwhm_arcmin
        Of the Gaussian beam.
    pixel_window
        HEALPix pixel_window_n*.fits.
    seed
        Of the random numbers.
    output
        Where the product goes (FITS).
    """
    given = recorded(locals())
    spec = read_json(simulate)
    pixel_arcmin = math.degrees(healpy.nside2resol(spec["nside"])) * 60
    noise = Noise(spec["noise_t_uk_arcmin"] / pixel_arcmin, spec["noise_p_uk_arcmin"] / pixel_arcmin)
    beam = Beam.gaussian(spec["lmax"], fwhm_arcmin).times_pixel_window(pixel_window)
    dl = {pair: x[: spec["lmax"] + 1] for pair, x in read_arrays(theory).items() if pair != "pp"}
    simulation = Simulation(spec["nside"], spec["lmax"], dl, seed=seed)
    # one band for all splits: its name seeds the noise, its realisation the CMB
    seen = Band("simulated", 143.0, beam, noise)
    sky = simulation.sky(seen, split=spec["split"], n_splits=spec["splits"])
    write_product(output, sky)
    publish_record(output, inputs=[theory, pixel_window], settings=given | {"simulate": spec})
