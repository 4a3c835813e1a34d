"""Sky maps: reading with every convention checked, masks, monopole and dipole, windows.

Inside the package a map is always float64, RING ordered, uK_CMB and COSMO polarised.
"""

from cmbfit.sky.fits import read_mask, read_mask_product, read_product, read_stokes, write_mask, write_product
from cmbfit.sky.maps import Mask, StokesMap
from cmbfit.sky.masks import apodise, binary
from cmbfit.sky.preprocess import cut_to_mask, remove_monopole_dipole
from cmbfit.sky.windows import gaussian_beam, read_pixel_window

__all__ = [
    "Mask",
    "StokesMap",
    "apodise",
    "binary",
    "cut_to_mask",
    "gaussian_beam",
    "read_mask",
    "read_mask_product",
    "read_pixel_window",
    "read_product",
    "read_stokes",
    "remove_monopole_dipole",
    "write_mask",
    "write_product",
]
