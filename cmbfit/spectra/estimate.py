"""The estimate as a whole: two maps and a mask in, bandpowers with windows and covariance out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.spectra.binning import Bins, dl_factor
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.fields import Field, Noise
from cmbfit.spectra.master import Master, Spectra, Transfer, couple
from cmbfit.spectra.multi import Plan, coupling_lmax, estimate_bandpowers, field_alms, make_plan
from cmbfit.spectra.noise import noise_from_auto
from cmbfit.spectra.transforms import FieldAlms, pseudo_spectra


@dataclass(frozen=True, eq=False)
class Estimate:
    """Bandpowers of two maps.

    Attributes
    ----------
    bandpowers : mapping name -> ndarray, shape (n,)
        D_b in uK^2 for the nine spectra, or those with T alone of a map of I alone.
    covariance : ndarray, shape (spectra n, spectra n)
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

    @property
    def errors(self) -> dict[str, Array]:
        """Standard deviation of each bandpower, uK^2."""
        sd = np.sqrt(np.diag(self.covariance)).reshape(len(self.bandpowers), -1)
        return dict(zip(self.bandpowers, sd, strict=True))


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
    fields: Sequence[Field], alms: Sequence[FieldAlms], plan: Plan, signal: Spectra
) -> list[Noise]:
    """Return the noise of each of two maps, E and B of one level.

    T: auto- minus cross-spectrum, which holds this sky's own signal. E and B: auto-spectrum minus the
    coupled theory, since the scatter of noisy polarisation is as large as the noise; E alone where B is pure.
    """
    one, two = fields
    cross = pseudo_spectra(*alms)["tt"] / np.mean(one.mask.weights * two.mask.weights)
    bins = plan.bins.padded(plan.lmax)
    out = []
    for f, a in zip(fields, alms, strict=True):
        own = plan.couplings.pair(f, f)
        expected = couple(signal, own, f.transfer, f.transfer)
        auto, w2 = pseudo_spectra(a, a), f.mask_of("e").moment(2)
        t = noise_from_auto(auto["tt"] / f.mask.moment(2), cross, bins, 1.0)
        p = [
            noise_from_auto(auto[s], expected[s], bins, w2) for s in (("ee",) if f.purify_b else ("ee", "bb"))
        ]
        out.append(Noise(t, np.mean(p, axis=0)))
    return out


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
    mask_b: Mask | None = None,
    mask_p: Mask | None = None,
    mask_b_p: Mask | None = None,
    purify_b: bool = False,
    iterations: int = 0,
    nthreads: int = 1,
) -> Estimate:
    """Estimate the nine cross-spectra of two maps whose noise is independent.

    The general estimator (:mod:`cmbfit.spectra.multi`) for two fields of one map each, with the noise of the
    covariance measured from the maps themselves.

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
    mask_b : Mask, optional
        Of map b; when omitted, map b has the masks of map a.
    mask_p, mask_b_p : Mask, optional
        Of Q and U of map a, and of map b where `mask_b` is given; the same as of T when omitted.
    purify_b : bool
        Take pure B modes of both maps.
    iterations : int
        Of the transforms, see :class:`~cmbfit.spectra.fields.Field`.

    Raises
    ------
    MapError
        When a mask keeps a pixel without data, or maps and masks do not share a grid.
    SpectrumError
        For an lmax beyond the pixels, short theory or beams, or a covariance that is not positive definite.
    """
    polarised = map_a.polarised and map_b.polarised
    missing = ({"tt", "te", "ee"} if polarised else {"tt"}) - set(fiducial_dl)
    if missing:
        raise SpectrumError(f"fiducial theory without {sorted(missing)}")
    # a map may meet itself here (its own name twice), fields may not
    of_b = (mask, mask_p) if mask_b is None else (mask_b, mask_b_p)
    how: dict[str, Any] = {"purify_b": purify_b, "iterations": iterations}
    fields = [
        Field("a", [map_a], mask, transfer_a, mask_p=mask_p, **how),
        Field("b", [map_b], of_b[0], transfer_b, mask_p=of_b[1], **how),
    ]
    lmax = coupling_lmax(mask.nside, bins, lmax)
    signal = cl_from_dl({k: fiducial_dl[k] for k in ("tt", "te", "ee", "bb") if k in fiducial_dl}, lmax)
    plan = make_plan(fields, bins, lmax, nthreads=nthreads)
    alms = {f.name: field_alms(f, lmax, nthreads=nthreads) for f in fields}
    values = estimate_bandpowers(plan, alms)
    noise = measure_noise(fields, [alms["a"][0], alms["b"][0]], plan, signal)
    noisy = [replace(f, noise=n) for f, n in zip(fields, noise, strict=True)]
    matrix = multi_covariance(plan, noisy, signal, nthreads=nthreads)
    info = {
        "map_a": map_a.name,
        "map_b": map_b.name,
        "fsky": mask.fsky,
        "fsky_p": fields[0].mask_of("e").fsky,
        "w2": mask.moment(2),
        "fsky_modes": mask.fsky_modes,
        "nside": mask.nside,
        "lmax_coupling": lmax,
        "edges": list(bins.edges),
        "weighting": bins.weighting,
        **how,
        "noise_cl_uk2": {
            f.name: {s: float(np.median(n.of(s[0])[bins.edges[-2] : bins.edges[-1]])) for s in ("tt", "ee")}
            for f, n in zip(fields, noise, strict=True)
        },
    }
    bandpowers = {e.spectrum: v for e, v in zip(plan.entries, values, strict=True)}
    return Estimate(bandpowers, matrix, plan.masters["a", "b"], info)
