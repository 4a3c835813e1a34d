"""WMAP 9-year low-l polarisation: reader of the released archive, and its likelihood as the WMAP code sums it.

Page et al. 2007 (astro-ph/0603450), appendix D; Bennett et al. 2013 (arXiv:1212.5225). The archive (LAMBDA:
wmap_likelihood_full_v5.tar.gz) holds, at nside 8 on the unmasked pixels, N^-1 of Q and U, N^-1 P_l N^-1 of E and
B for l = 2-23, N^-1 Y of E, the weighted maps N^-1 m, and the a_lm of the temperature map.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from astropy.io import fits
from numpy.typing import NDArray

from cmbfit.device import OnDevice
from cmbfit.errors import DataError
from cmbfit.fits_structure import check_structure
from cmbfit.io import reading
from cmbfit.likelihood.archive import read_archive
from cmbfit.likelihood.base import DataSetInfo, nuisance_values, sources
from cmbfit.likelihood.pixel.blocks import dl_to_cl
from cmbfit.sky.maps import Array, nside_of
from cmbfit.theory.spectra import Spectra

LOG_DET_OFFSET = 16078.083180  # of the WMAP code: its ln |D| at a fiducial model
MEMBERS = {
    "p_ee": "lowlP/std/masked_ee_ninvplninv_qu_r3_corrected_9yr.KaQV.fits",
    "p_bb": "lowlP/std/masked_bb_ninvplninv_qu_r3_corrected_9yr.KaQV.fits",
    "inverse": "lowlP/std/masked_ninv_qu_r3_corrected_9yr.KaQV.fits",
    "inverse_y": "lowlP/std/masked_ninvy_e_qu_r3_corrected_9yr.KaQV.fits",
    "map_q": "lowlP/std/wt_r3_9yr.KaQV.map_q",
    "map_u": "lowlP/std/wt_r3_9yr.KaQV.map_u",
    "alm": "lowlP/alm_tt_fs_r9_ilc_nopixwin_9yr.dat",
    "mask": "lowlP/mask_r3_p06_jarosik.fits",
    "window": "healpix_data/pixel_window_n0008.txt",
}
_NAME = "WMAP archive"


@dataclass(frozen=True, eq=False)
class WmapLowlData:
    """The archive's low-l polarisation, cut to its mask; mK. n = Q and U of the kept pixels.

    Attributes
    ----------
    inverse : ndarray, shape (n, n)
        N^-1 in mK^-2.
    products : ndarray, shape (2 (lmax - 1), n (n + 1) / 2)
        Lower triangles of N^-1 P_l N^-1: E at l = 2 to lmax, then B.
    weighted : ndarray, shape (n,)
        N^-1 m in mK^-1.
    responses : ndarray, shape (lmax - 1, n)
        N^-1 times the E map of the temperature's a_lm at each l, with the pixel window once.
    window : ndarray, shape (lmax + 1,)
    """

    inverse: Array
    products: Array
    weighted: Array
    responses: Array
    window: Array


def _members(archive: bytes) -> dict[str, bytes]:
    """Read the wanted files out of the archive, whatever folder they lie in."""
    inside = read_archive(archive, _NAME, lambda path: any(_ends(path, name) for name in MEMBERS.values()))
    found: dict[str, bytes] = {}
    for key, name in MEMBERS.items():
        matches = [path for path in inside if _ends(path, name)]
        if len(matches) != 1:
            problem = f"{name} is there twice" if matches else f"no member {name}"
            raise DataError(f"{_NAME}: {problem}; expected wmap_likelihood_full_v5.tar.gz")
        found[key] = inside[matches[0]]
    return found


def _ends(path: str, name: str) -> bool:
    return f"/{path}".endswith(f"/{name}")


def _image(raw: bytes, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the primary image of a FITS file in Fortran's order of axes; -1 leaves an axis free."""
    check_structure(raw, name)
    with reading(name, "a FITS image"), fits.open(io.BytesIO(raw)) as hdus:
        values = np.asarray(hdus[0].data).T
    if values.ndim != len(shape) or any(w not in (-1, g) for w, g in zip(shape, values.shape, strict=True)):
        raise DataError(f"{name}: expected shape {shape} (Fortran order), found {values.shape}")
    return values


def _column(raw: bytes, name: str, column: int) -> Array:
    check_structure(raw, name)
    with reading(name, f"a FITS table with column {column + 1}"), fits.open(io.BytesIO(raw)) as hdus:
        return np.asarray(hdus[1].data.field(column), dtype=np.float64).ravel()


def _alm(raw: bytes, name: str, lmax: int) -> NDArray[np.complex128]:
    """Return a_lm at index l (l + 1) / 2 + m from lines "(re,im)"."""
    rows = re.findall(r"\(\s*([^,()\s]+)\s*,\s*([^,()\s]+)\s*\)", raw.decode("ascii", errors="replace"))
    expected = (lmax + 1) * (lmax + 2) // 2
    try:
        values = np.array([complex(float(a), float(b)) for a, b in rows])
    except ValueError as error:
        raise DataError(f"{name}: expected complex numbers (re,im), found: {error}") from error
    if len(values) != expected:
        raise DataError(f"{name}: expected {expected} a_lm up to l = {lmax}, found {len(values)}")
    return values


def read_wmap9_lowl(archive: bytes) -> WmapLowlData:
    """Read the low-l polarisation out of WMAP's likelihood archive.

    Raises
    ------
    DataError
        If the archive is damaged or a member is missing, repeated or of another layout.
    """
    raw = _members(archive)
    mask = _column(raw["mask"], MEMBERS["mask"], 1)
    n_pix = len(mask)
    nside_of(n_pix, MEMBERS["mask"])
    good = np.flatnonzero(mask != 0)
    use = np.concatenate([good, n_pix + good])
    with reading(MEMBERS["window"], "a table of numbers"):
        window = np.loadtxt(io.BytesIO(raw["window"]), ndmin=2)[:, 0]
    p_ee = _image(raw["p_ee"], MEMBERS["p_ee"], (-1, 2 * n_pix, 2 * n_pix))
    lmax = p_ee.shape[0] - 1
    p_bb = _image(raw["p_bb"], MEMBERS["p_bb"], p_ee.shape)
    n_lm = (lmax + 1) * (lmax + 2) // 2
    y = _image(raw["inverse_y"], MEMBERS["inverse_y"], (2, 2 * n_pix, n_lm))
    inverse = _image(raw["inverse"], MEMBERS["inverse"], (2 * n_pix, 2 * n_pix))
    alm = _alm(raw["alm"], MEMBERS["alm"], lmax)
    if len(window) <= lmax:
        raise DataError(f"{MEMBERS['window']}: {len(window)} rows, expected at least {lmax + 1}")
    weighted = [_column(raw[k], MEMBERS[k], 0) for k in ("map_q", "map_u")]
    if any(len(x) != n_pix for x in weighted):
        raise DataError(f"weighted maps: expected {n_pix} pixels, found {[len(x) for x in weighted]}")
    rows, columns = np.tril_indices(len(use))
    products = [p[2:, use[rows], use[columns]].astype(np.float64) for p in (p_ee, p_bb)]
    responses = np.zeros((lmax - 1, len(use)))
    for ell in range(2, lmax + 1):
        for m in range(ell + 1):
            k = ell * (ell + 1) // 2 + m
            term = alm[k] * (y[0, use, k].astype(np.float64) + 1j * y[1, use, k])
            responses[ell - 2] += (1 if m == 0 else 2) * term.real  # the same for -m, conjugated
    return WmapLowlData(
        inverse=inverse[np.ix_(use, use)].astype(np.float64),
        products=np.concatenate(products),
        weighted=np.concatenate([x[good] * mask[good] for x in weighted]),
        responses=responses * window[2 : lmax + 1, None],
        window=window[: lmax + 1],
    )


class WmapLowlPolarisation(OnDevice):
    """ln L of Q and U given T: -2 ln L = r^T D^-1 r + ln |D| - offset.

    D = N^-1 + sum_l w_l^2 [(C_EE - C_TE^2 / C_TT) P_l^E + C_BB P_l^B] and r = N^-1 m - sum_l (C_TE / C_TT) w_l a_lm
    N^-1 Y_lm: the density of Q and U at fixed temperature, times a constant. BB counts as zero where the theory
    has none (lensing gives less than 1e-3 uK^2 there).

    Parameters
    ----------
    info : DataSetInfo
    data : WmapLowlData
    files : mapping, optional
        Data files and their sha256, for the record.
    offset : float
        Subtracted from ln |D|.
    max_bytes : int
        Working memory of a call.
    """

    def __init__(
        self,
        info: DataSetInfo,
        data: WmapLowlData,
        files: Mapping[str, str] | None = None,
        offset: float = LOG_DET_OFFSET,
        max_bytes: int = 1 << 30,
    ) -> None:
        self.info, self.pairs = info, ("tt", "te", "ee")
        self.lmax = len(data.window) - 1
        self._files, self._offset = dict(files or {}), offset
        ell = np.arange(2, self.lmax + 1)
        # D_l in uK^2 to C_l in mK^2 with the pixel window of both maps
        self._to_cl = torch.from_numpy(1e-6 * dl_to_cl(ell) * data.window[2:] ** 2)
        self._inverse = torch.from_numpy(data.inverse)
        self._products = torch.from_numpy(data.products)
        self._weighted = torch.from_numpy(data.weighted)
        self._responses = torch.from_numpy(data.responses)
        n = len(data.weighted)
        self._lower = torch.tril_indices(n, n)
        self.chunk = max(1, max_bytes // (32 * n * n))
        if bool(torch.linalg.cholesky_ex(self._inverse)[1]):
            raise DataError(f"{info.name}: the inverse noise covariance is not positive definite")

    def settings(self) -> dict[str, Any]:
        """Return data files and the offset."""
        made_of = sources(
            self._files, self._inverse, self._products, self._weighted, self._responses, self._to_cl
        )
        return {"kind": "wmap9 low-l polarisation", **made_of, "log_det_offset": self._offset}

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L; -inf where TT is not positive, or EE or BB so small that D is no covariance."""
        spectra.require(self.pairs, self.lmax)
        nuisance_values(self.info, nuisance, spectra.batch)
        used = slice(2, self.lmax + 1)
        tt, te, ee = (spectra.dl[pair][:, used] for pair in self.pairs)
        bb = spectra.dl["bb"][:, used] if "bb" in spectra.dl else torch.zeros_like(ee)
        possible = (tt > 0).all(1)
        ratio = te / torch.where(tt > 0, tt, 1.0)
        power = torch.cat([(ee - te * ratio) * self._to_cl, bb * self._to_cl], dim=1)
        parts = [
            self._evaluate(p, r)
            for p, r in zip(power.split(self.chunk), ratio.split(self.chunk), strict=True)
        ]
        value = torch.cat(parts) if parts else tt.new_zeros(0)
        return torch.where(possible, value, -torch.inf)

    def _evaluate(self, power: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
        n = len(self._weighted)
        packed = power.nan_to_num() @ self._products
        d = power.new_zeros(len(power), n, n)
        d[:, self._lower[0], self._lower[1]] = packed
        d = d + d.tril(-1).mT + self._inverse
        low, failed = torch.linalg.cholesky_ex(d)
        residual = self._weighted - ratio @ self._responses
        white = torch.linalg.solve_triangular(low, residual[..., None], upper=False)[..., 0]
        log_det = 2 * low.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        value = -0.5 * (white.square().sum(-1) + log_det - self._offset)
        bad = (failed != 0) | ~torch.isfinite(value) | torch.isnan(power).any(1)
        return torch.where(bad, -torch.inf, value)
