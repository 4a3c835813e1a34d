"""Stand-ins for published survey files: simulated skies in the formats of WMAP9 and Planck PR3.

Names, columns, units, ordering, headers, extensions and number types are those of the releases, so
that the code that reads them is the code that reads the originals. Contents: a CMB of known spectra,
dust and synchrotron of :mod:`cmbfit.sky.foregrounds`, Gaussian beams, pixel windows, white noise that
follows hits denser at the ecliptic poles, and for Planck a monopole, a dipole and bad pixels.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import healpy
import numpy as np
from astropy.io import fits

from cmbfit.errors import MapError
from cmbfit.io import atomic_buffer, atomic_file
from cmbfit.sky.beams import Beam
from cmbfit.sky.fits import UNSEEN
from cmbfit.sky.maps import Array, Mask, projected
from cmbfit.sky.masks import grain_taper
from cmbfit.sky.pixelisation import geometry
from cmbfit.sky.rotate import rotation_matrix

FWHM_ARCMIN = {
    "K": 52.8, "Ka": 39.6, "Q": 30.6, "V": 21.0, "W": 13.2,
    "100": 9.68, "143": 7.30, "217": 5.02, "353": 4.94,
}  # fmt: skip
"""WMAP: Bennett et al. 2013 (arXiv:1212.5225); HFI: Planck 2018 I (arXiv:1807.06205), table 4."""

HFI_NOISE_UK_ARCMIN = {
    "100": (77.4, 117.6), "143": (33.0, 70.2), "217": (46.8, 105.0), "353": (153.6, 438.4),
}  # fmt: skip
"""Full-mission noise of T and of Q, U: Planck 2018 I, table 4; a half mission has sqrt(2) more."""

HFI_T_TO_E = {"100": 4e-4, "143": 3e-4, "217": 2e-4}
"""B^{T->E} of the stand-ins above their beam's scales, times b^T: about what Planck 2015 XI, section 3.3, corrects."""

WMAP_HITS_PER_YEAR = 170.0
"""Observations of a pixel at nside 512 by one differencing assembly in a year, about (V band)."""


def fwhm_of(detector: str) -> float:
    """Return the beam of a detector: "V2" has that of V.

    Examples
    --------
    >>> fwhm_of("W3")
    13.2
    """
    key = detector if detector in FWHM_ARCMIN else detector.rstrip("0123456789")
    if key not in FWHM_ARCMIN:
        raise MapError(
            f"detector {detector!r}: expected one of {sorted(FWHM_ARCMIN)} with or without a number"
        )
    return FWHM_ARCMIN[key]


def standin_beam(detector: str, lmax: int) -> Beam:
    """Return a Gaussian beam, which in Planck's CMB channels takes a little T for E.

    Examples
    --------
    >>> standin_beam("V1", 10).t_to_e is None, bool(standin_beam("143", 2000).t_to_e[1000] > 0)
    (True, True)
    """
    beam = Beam.gaussian(lmax, fwhm_of(detector))
    if detector not in HFI_T_TO_E:
        return beam
    rise = 1 - np.exp(-((np.arange(lmax + 1) / 500) ** 2))
    return replace(beam, t_to_e=HFI_T_TO_E[detector] * rise * beam.t)


def scan_hits(nside: int, mean: float) -> Array:
    """Return counts with rings of deep coverage 45 degrees around the ecliptic poles, at least 1."""
    latitude = np.abs(projected(nside, rotation_matrix("E", "G")[:, 2]))
    shape = 1 + 2.5 * np.exp(-0.5 * ((latitude - np.sqrt(0.5)) / 0.08) ** 2) + 1.5 * latitude**4
    return np.maximum(np.rint(mean * shape / shape.mean()), 1.0)


@dataclass(frozen=True, eq=False)
class Content:
    """What goes into one map file.

    Attributes
    ----------
    iqu : ndarray, shape (3, npix)
        I, Q, U in uK_CMB, COSMO, RING; signal and noise.
    hits : ndarray, shape (npix,)
    sigma_t, sigma_p : float
        Noise of one observation in uK.
    """

    iqu: Array
    hits: Array
    sigma_t: float
    sigma_p: float


def _nested(values: Array) -> Array:
    return healpy.reorder(np.asarray(values, dtype=np.float32), r2n=True)


def _table(
    columns: Mapping[str, tuple[Callable[[], Array], str]], npix: int, name: str, extra: Mapping[str, object]
) -> fits.BinTableHDU:
    """Return a table of single-precision columns, each made when its turn comes: a nside 2048 column is 200 MB."""
    rows = np.empty(npix, dtype=[(key, ">f4") for key in columns])
    for key, (make, _) in columns.items():
        rows[key] = make()
    table = fits.BinTableHDU(rows, name=name)
    for k, (_, unit) in enumerate(columns.values()):
        if unit:
            table.columns[k].unit = unit
    head = {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "NSIDE": healpy.npix2nside(npix), "FIRSTPIX": 0,
            "LASTPIX": npix - 1, "INDXSCHM": "IMPLICIT", **extra}  # fmt: skip
    for key, value in head.items():
        table.header[key] = value
    return table


def _publish(path: Path, *tables: fits.BinTableHDU) -> None:
    with atomic_file(path) as f:
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(f)


def write_wmap_map(path: Path, content: Content) -> None:
    """Write `wmap_iqumap_r9_yr*_v5.fits`: mK, N_OBS, NESTED, no COORDSYS; weights in the second extension."""
    hits, npix = _nested(content.hits), content.hits.size

    def stokes(k: int) -> tuple[Callable[[], Array], str]:
        return lambda: _nested(1e-3 * content.iqu[k]), "mK"

    counts = (lambda: hits, "counts")
    maps = dict(zip(("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION"), map(stokes, range(3)), strict=True))
    weights = {"N_OBS": counts, "M11": counts, "M12": (lambda: 0 * hits, "counts"), "M23": counts}
    _publish(
        path,
        _table({**maps, "N_OBS": counts}, npix, "Stokes Maps", {}),
        _table(weights, npix, "Weights", {}),
    )


def write_hfi_map(path: Path, content: Content, rng: np.random.Generator, n_bad: int = 12) -> None:
    """Write `HFI_SkyMap_*_R3.01_*.fits`: K_CMB, ten columns, NESTED, GALACTIC, COSMO.

    `n_bad` pixels are missing, as many have a polarisation variance that must not be trusted.
    """
    hits, npix = _nested(content.hits), content.hits.size
    bad = rng.choice(npix, 2 * n_bad, replace=False)
    sigma = {"I": content.sigma_t, "Q": content.sigma_p, "U": content.sigma_p}

    def stokes(k: int) -> Array:
        column = _nested(1e-6 * content.iqu[k])
        column[bad[:n_bad]] = UNSEEN
        return column

    def covariance(key: str) -> Array:
        column = ((1e-6 * sigma[key[0]]) ** 2 if key[0] == key[1] else 0.0) / hits
        if key in {"QQ", "UU"}:
            column[bad[n_bad:]] = 5e-6  # K^2: above 1e6 uK^2
        return column

    columns: dict[str, tuple[Callable[[], Array], str]] = {}
    for k, key in enumerate("IQU"):
        columns[f"{key}_STOKES"] = (partial(stokes, k), "K_CMB")
    columns["HITS"] = (lambda: hits, "")
    for key in ("II", "IQ", "IU", "QQ", "QU", "UU"):
        columns[f"{key}_COV"] = (partial(covariance, key), "K_CMB^2")
    head = {"COORDSYS": "GALACTIC", "POLCCONV": "COSMO", "BAD_DATA": UNSEEN, "POLAR": True}
    _publish(path, _table(columns, npix, "FREQ-MAP", head))


def write_mask_file(path: Path, mask: Mask, column: str, *, coordsys: bool) -> None:
    """Write a mask: one single-precision column, NESTED."""
    extra = {"COORDSYS": "GALACTIC"} if coordsys else {}
    columns = {column: (lambda: _nested(mask.weights), "")}
    _publish(path, _table(columns, mask.weights.size, "MASK", extra))


def standin_mask(
    nside: int, latitude_deg: float, n_sources: int, rng: np.random.Generator, apodise_deg: float
) -> Mask:
    """Return a Galactic cut with holes of 0.6 degrees around random sources, apodised if asked: C1, 0.5 degrees at holes.

    Distances to cut and holes are known in closed form: a search for the nearest hole takes minutes at nside 2048.
    """
    lon, sin_lat = rng.uniform(0, 360, n_sources), rng.uniform(-1, 1, n_sources)
    rings = geometry(nside)
    above = np.abs(np.pi / 2 - rings["theta"]) - np.radians(latitude_deg)
    cut = grain_taper(above, np.radians(apodise_deg), "C1") if apodise_deg else (above > 0) * 1.0
    weights = np.repeat(cut, rings["nphi"].astype(int))
    radius, width = np.radians([0.6, 0.5 * (apodise_deg > 0)])
    holes = np.ones(weights.size)
    for vector in healpy.ang2vec(lon, np.degrees(np.arcsin(sin_lat)), lonlat=True):
        pixels = healpy.query_disc(nside, vector, radius + width)
        chord = np.linalg.norm(np.stack(healpy.pix2vec(nside, pixels), axis=1) - vector, axis=1)
        beyond = 2 * np.arcsin(np.clip(chord / 2, 0, 1)) - radius
        holes[pixels] = np.minimum(holes[pixels], grain_taper(beyond, width, "C1") if width else 0.0)
    return Mask(weights * holes, coord="G", name=f"b{latitude_deg:g} and {n_sources} sources")


def write_wmap_beam(path: Path, detector: str, lmax: int) -> None:
    """Write `wmap_ampl_bl_*_9yr_v5p1.txt`: comments, then l, b_l and its relative error."""
    beam = Beam.gaussian(lmax, fwhm_of(detector)).t
    table = np.column_stack([np.arange(lmax + 1), beam, np.full(lmax + 1, 0.003)])
    with atomic_file(path) as f:
        np.savetxt(
            f, table, fmt=["%d", "%.8e", "%.4e"], header=f"stand-in beam transfer function of {detector}"
        )


def write_beam_archive(path: Path, members: Mapping[str, str], lmax: int) -> None:
    """Write a gzipped tar of `Wl_*.fits` files: extensions TT, EE, BB, TE with columns like TT_2_TT.

    Parameters
    ----------
    members : mapping
        Name in the archive -> detector.
    """
    with atomic_buffer(path) as f, tarfile.open(fileobj=f, mode="w:gz") as archive:
        for name, detector in members.items():
            beam = standin_beam(detector, lmax)
            power = {"TT": beam.t**2, "EE": beam.e**2, "BB": beam.b**2, "TE": beam.t * beam.e}
            response = {(s, s): values for s, values in power.items()}
            if beam.t_to_e is not None:
                leak = beam.t_to_e
                response |= {
                    ("TT", "TE"): beam.t * leak,
                    ("TT", "EE"): leak**2,
                    ("TE", "EE"): 2 * beam.e * leak,
                }
            tables = []
            for source, zero in ((s, 0 * values) for s, values in power.items()):
                columns = [
                    fits.Column(name=f"{source}_2_{to}", format="D", array=response.get((source, to), zero))
                    for to in power
                ]
                tables.append(fits.BinTableHDU.from_columns(columns, name=source))
            buffer = io.BytesIO()
            fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(buffer)
            info = tarfile.TarInfo(name)
            info.size = buffer.tell()
            buffer.seek(0)
            archive.addfile(info, buffer)
