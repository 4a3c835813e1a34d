"""The estimate as a whole: two maps and a mask in, bandpowers with windows and covariance out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.spectra.binning import Bins, dl_factor
from cmbfit.spectra.covariance import covariance, field_spectra
from cmbfit.spectra.master import Master, Spectra, Transfer, couple, prepare
from cmbfit.spectra.noise import noise_from_auto
from cmbfit.spectra.transforms import FieldAlms, masked_alms, pseudo_spectra


@dataclass(frozen=True, eq=False)
class Estimate:
    """Bandpowers of two maps.

    Attributes
    ----------
    bandpowers : mapping name -> ndarray, shape (n,)
        D_b in uK^2 for the nine spectra.
    covariance : ndarray, shape (9 n, 9 n)
        uK^4, ordered by spectrum then bin.
    master : Master
        Bins and windows.
    info : mapping
        JSON-able facts: fsky, <w^2>, noise levels, settings.
    """

    bandpowers: Mapping[str, Array]
    covariance: Array
    master: Master
    info: Mapping[str, Any] = field(default_factory=dict)


def cl_from_dl(dl: Spectra, lmax: int) -> dict[str, Array]:
    """Return C_l of theory D_l (from l = 0) up to lmax, zero at l = 0 and 1."""
    factor = dl_factor(lmax)
    factor[0] = np.inf
    out = {}
    for name, values in dl.items():
        if values.size <= lmax:
            raise SpectrumError(f"fiducial {name} up to l = {values.size - 1}, l = {lmax} is needed")
        if not np.isfinite(values).all():
            raise SpectrumError(f"fiducial {name} has non-finite values")
        out[name] = values[: lmax + 1] / factor
        out[name][:2] = 0.0
    return out


def measure_noise(
    a: FieldAlms, b: FieldAlms, master: Master, signal: Spectra, w2: float
) -> dict[str, Spectra]:
    """Return the noise C_l of each map in T, E and B; E and B share one level."""
    cross = pseudo_spectra(a, b)
    bins = master.bins.padded(master.lmax)
    noise: dict[str, Spectra] = {}
    for key, alms, transfer in (("a", a, master.transfer_a), ("b", b, master.transfer_b)):
        auto = pseudo_spectra(alms, alms)
        expected = couple(signal, master.coupling, transfer, transfer)
        tt = noise_from_auto(auto["tt"], cross["tt"], bins, w2)
        pol = [noise_from_auto(auto[s], expected[s], bins, w2) for s in ("ee", "bb")]
        mean = 0.5 * (pol[0] + pol[1])
        noise[key] = {"tt": tt, "ee": mean, "bb": mean}
    return noise


def cross_spectra(
    map_a: StokesMap,
    map_b: StokesMap,
    mask: Mask,
    *,
    bins: Bins,
    transfer_a: Transfer,
    transfer_b: Transfer,
    fiducial_dl: Spectra,
    lmax: int | None = None,
) -> Estimate:
    """Estimate the nine cross-spectra of two maps whose noise is independent.

    Parameters
    ----------
    map_a, map_b : StokesMap
        Same nside and coordinates as the mask; monopole and dipole removed.
    bins : Bins
        Published bins.
    transfer_a, transfer_b : Transfer
        Beam times pixel window from l = 0.
    fiducial_dl : mapping of ndarray
        Signal for the covariance: D_l in uK^2 from l = 0, at least "tt", "te", "ee".
    lmax : int, optional
        Of the mode coupling; 3 nside - 1 when omitted.
    """
    top = 3 * mask.nside - 1
    lmax = top if lmax is None else lmax
    if not bins.lmax <= lmax <= top:
        raise SpectrumError(f"lmax {lmax}: expected from {bins.lmax} (bins) to {top} (3 nside - 1)")
    missing = {"tt", "te", "ee"} - set(fiducial_dl)
    if missing:
        raise SpectrumError(f"fiducial theory without {sorted(missing)}")
    signal = cl_from_dl({k: fiducial_dl[k] for k in ("tt", "te", "ee", "bb") if k in fiducial_dl}, lmax)
    master = prepare(mask, bins, transfer_a, transfer_b, lmax)
    a, b = masked_alms(map_a, mask, lmax), masked_alms(map_b, mask, lmax)
    bandpowers = master.decouple(pseudo_spectra(a, b))
    w2 = mask.moment(2)
    noise = measure_noise(a, b, master, signal, w2)
    matrix = covariance(master, mask, field_spectra(master, signal, noise, w2))
    info = {
        "map_a": map_a.name,
        "map_b": map_b.name,
        "fsky": mask.fsky,
        "w2": w2,
        "fsky_modes": mask.fsky_modes,
        "nside": mask.nside,
        "lmax_coupling": lmax,
        "edges": list(bins.edges),
        "noise_cl_uk2": {
            k: {s: float(np.median(v[s][bins.edges[-2] : bins.edges[-1]])) for s in ("tt", "ee")}
            for k, v in noise.items()
        },
    }
    return Estimate(bandpowers, matrix, master, info)
