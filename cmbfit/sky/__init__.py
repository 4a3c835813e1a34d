"""Sky maps: reading with every convention checked, preparation, masks, beams, cleaning, simulated skies.

Inside the package a map is always float64, RING ordered, uK_CMB and COSMO polarised. In data-flow order:

- `fits`, `table`, `units`, `maps`: files in and out, :class:`StokesMap`, :class:`Mask`;
- `quality`, `calibrate`, `kinematic`, `rotate`, `preprocess`: bad pixels, calibration, solar motion,
  coordinates, monopole and dipole;
- `windows`, `beams`, `beam_files`, `resolution`: beams, pixel windows, another beam or nside through a_lm;
- `cuts`, `masks`: Galactic and point-source masks, apodisation, sky fractions;
- `templates`, `ilc`: foreground cleaning;
- `foregrounds`, `simulate`: seeded simulated skies; `harmonic`: the transforms.
"""

from cmbfit.sky.beam_files import read_beam
from cmbfit.sky.beams import Beam, beam_ratio
from cmbfit.sky.calibrate import calibrate
from cmbfit.sky.cuts import full_sky, galactic_cut
from cmbfit.sky.fits import read_mask, read_mask_product, read_product, read_stokes, write_mask, write_product
from cmbfit.sky.ilc import harmonic_ilc
from cmbfit.sky.kinematic import SolarMotion, remove_kinematic
from cmbfit.sky.maps import Mask, StokesMap
from cmbfit.sky.masks import apodise, binary, moments
from cmbfit.sky.preprocess import cut_to_mask, remove_monopole_dipole
from cmbfit.sky.quality import combine_masks, data_mask, fill_missing
from cmbfit.sky.resolution import change_resolution, cosine_beam, degrade_mask
from cmbfit.sky.rotate import rotate, rotate_mask
from cmbfit.sky.simulate import Band, Noise, Simulation
from cmbfit.sky.templates import Template, clean, fit_templates
from cmbfit.sky.windows import gaussian_beam, read_pixel_window

__all__ = [
    "Band",
    "Beam",
    "Mask",
    "Noise",
    "Simulation",
    "SolarMotion",
    "StokesMap",
    "Template",
    "apodise",
    "beam_ratio",
    "binary",
    "calibrate",
    "change_resolution",
    "clean",
    "combine_masks",
    "cosine_beam",
    "cut_to_mask",
    "data_mask",
    "degrade_mask",
    "fill_missing",
    "fit_templates",
    "full_sky",
    "galactic_cut",
    "gaussian_beam",
    "harmonic_ilc",
    "moments",
    "read_beam",
    "read_mask",
    "read_mask_product",
    "read_pixel_window",
    "read_product",
    "read_stokes",
    "remove_kinematic",
    "remove_monopole_dipole",
    "rotate",
    "rotate_mask",
    "write_mask",
    "write_product",
]
