"""The estimate as a whole: two maps and a mask in, bandpowers with windows and covariance out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.sky.pixelisation import Healpix
from cmbfit.spectra.binning import Bins, dl_factor
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.fields import Field, Noise, same_mask
from cmbfit.spectra.filters import deprojection_bias
from cmbfit.spectra.leftover import pure_leftover
from cmbfit.spectra.mask_couplings import MaskCouplings
from cmbfit.spectra.master import Master, Spectra, Transfer, couple
from cmbfit.spectra.multi import Plan, coupling_lmax, estimate_bandpowers, field_alms, make_plan
from cmbfit.spectra.noise import Levels, noise_levels, seen_noise
from cmbfit.spectra.templates import Templates
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
    fields: Sequence[Field], alms: Sequence[FieldAlms], plan: Plan, signal: Spectra, nthreads: int = 1
) -> tuple[list[Noise], list[str]]:
    """Return the noise of each of two maps, E and B of one level, and what is to be said of it.

    See :mod:`cmbfit.spectra.noise`. Where masks differ both maps are transformed once more under the product of the
    masks, where they hold one sky. Of pure maps E alone is used. A map of I alone has no noise of E and B, and the
    other one has no second view of its E and B: the theory is taken off.
    """
    lmax, bins = plan.lmax, plan.bins.padded(plan.lmax)
    couplings, (one, two) = plan.couplings, fields
    of_t, of_p = (_common_mask(fields, x) for x in "te")
    if not all(same_mask(f.mask_of(x), m) for f in fields for x, m in (("t", of_t), ("e", of_p))):
        one, two = (replace(f, mask=of_t, mask_p=of_p, purify_b=False) for f in fields)
        alms = [field_alms(f, lmax, nthreads=nthreads)[0] for f in (one, two)]
        couplings = MaskCouplings(lmax, nthreads)
    letters = "t" if not (one.polarised or two.polarised) else "te" if one.purify_b or two.purify_b else "teb"
    pairs = {"aa": (0, 0), "bb": (1, 1), "ab": (0, 1)}
    measured, expected = {}, {}
    for key, (i, j) in pairs.items():
        f, g = (one, two)[i], (one, two)[j]
        measured[key] = pseudo_spectra(alms[i], alms[j])
        expected[key] = couple(signal, couplings.pair(f, g), f.transfer, g.transfer, (f.purify_b, g.purify_b))
        for name, bias in deprojection_bias(f, g, signal, lmax, [x + x for x in letters]).items():
            expected[key][name] = expected[key][name] + bias
    found = {}
    for x in letters:
        mask, name = one.mask_of(x), x + x
        has = [float(x == "t" or f.polarised) for f in (one, two)]
        held = {k: has[i] * has[j] / mask.moment(2) for k, (i, j) in pairs.items()}
        both = [{k: held[k] * v[name] for k, v in y.items()} for y in (measured, expected)]
        beams = has[0] * one.transfer.of(x)[: lmax + 1], has[1] * two.transfer.of(x)[: lmax + 1]
        found[x] = noise_levels(both[0], both[1], beams, bins, mask.fsky_modes)
    out, notes = [], []
    for k, f in enumerate(fields):
        name = f.maps[0].name or f.name
        t, say_t = seen_noise(found["t"][k], bins, lmax, f"T of map {name!r}")
        p, say_p = np.zeros(lmax + 1), list[str]()
        if f.polarised:
            polarised = Levels.mean([found[x][k] for x in letters[1:]])
            p, say_p = seen_noise(polarised, bins, lmax, f"E, B of map {name!r}")
        out.append(Noise(t, p))
        notes += say_t + say_p
    return out, notes


def _common_mask(fields: Sequence[Field], letter: str) -> Mask:
    """Return the mask under which all maps that have the field "t" or "e" hold one sky: the product of theirs."""
    first, *others = [f.mask_of(letter) for f in fields if letter == "t" or f.polarised] or [fields[0].mask]
    if all(same_mask(first, m) for m in others):
        return first
    return Mask(np.prod([m.weights for m in (first, *others)], axis=0), first.coord)


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
    filters_a: Templates | None = None,
    filters_b: Templates | None = None,
    noise: tuple[Noise, Noise] | None = None,
    leftover_skies: int = 10,
    nthreads: int = 1,
) -> Estimate:
    """Estimate the nine cross-spectra of two maps whose noise is independent.

    The general estimator (:mod:`cmbfit.spectra.multi`) for two fields of one map each, with the noise of the
    covariance measured from the maps themselves.

    Parameters
    ----------
    map_a, map_b : StokesMap
        Same nside and coordinates as the mask.
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
    filters_a, filters_b : Templates, optional
        What was taken off each map: ``monopole_dipole(mask)`` after :func:`cmbfit.sky.remove_monopole_dipole`.
    noise : pair of Noise, optional
        Of both maps, where it is known; measured when omitted.
    leftover_skies : int
        Skies on which what pixels leave of E in pure B is measured (:mod:`cmbfit.spectra.leftover`): into
        `info`, with a note where it is more than a tenth of the BB of the theory. 0 for none.

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
        Field("a", [map_a], mask, transfer_a, mask_p=mask_p, filters=filters_a, **how),
        Field("b", [map_b], of_b[0], transfer_b, mask_p=of_b[1], filters=filters_b, **how),
    ]
    lmax = coupling_lmax(mask.grid, bins, lmax)
    signal = cl_from_dl({k: fiducial_dl[k] for k in ("tt", "te", "ee", "bb") if k in fiducial_dl}, lmax)
    plan = make_plan(fields, bins, lmax, nthreads=nthreads)
    alms = {f.name: field_alms(f, lmax, nthreads=nthreads) for f in fields}
    values = estimate_bandpowers(plan, alms)
    notes: list[str] = []
    if noise is None:
        found, notes = measure_noise(fields, [alms["a"][0], alms["b"][0]], plan, signal, nthreads)
        noise = found[0], found[1]
    noisy = [replace(f, noise=n) for f, n in zip(fields, noise, strict=True)]
    matrix = multi_covariance(plan, noisy, signal, nthreads=nthreads, notes=notes)
    left = {}
    if purify_b and leftover_skies:
        left = pure_leftover(plan, fields, signal, n_skies=leftover_skies, nthreads=nthreads)
    for found_b in left.values():
        sigma = np.sqrt(np.diag(matrix).reshape(len(plan.entries), -1))
        k = next(i for i, e in enumerate(plan.entries) if e.spectrum == "bb")
        sought = plan.theory({"bb": fiducial_dl["bb"]})[k] if "bb" in fiducial_dl else np.zeros(bins.n)
        notes += found_b.notes(sought, sigma[k], bins.edges)
    info = {
        "map_a": map_a.name,
        "map_b": map_b.name,
        "fsky": mask.fsky,
        "fsky_p": fields[0].mask_of("e").fsky,
        "w2": mask.moment(2),
        "fsky_modes": mask.fsky_modes,
        **({"nside": mask.grid.nside} if isinstance(mask.grid, Healpix) else {"grid": mask.grid.name}),
        "lmax_coupling": lmax,
        "edges": list(bins.edges),
        "weighting": bins.weighting,
        **how,
        "noise_cl_uk2": {
            f.name: {s: float(np.median(n.of(s[0])[bins.edges[-2] : bins.edges[-1]])) for s in ("tt", "ee")}
            for f, n in zip(fields, noise, strict=True)
        },
        "notes": notes,
    }
    for x in left.values():
        info["pure_b_leftover"] = {
            "dl_uk2": x.dl.tolist(),
            "error_uk2": x.error.tolist(),
            "skies": leftover_skies,
        }
    bandpowers = {e.spectrum: v for e, v in zip(plan.entries, values, strict=True)}
    return Estimate(bandpowers, matrix, plan.masters["a", "b"], info)
