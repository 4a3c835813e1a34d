"""A pixel likelihood from maps and masks: which pixels, which modes, what counts as noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.pixel.blocks import dl_to_cl, pair_of, pairs_of
from cmbfit.likelihood.pixel.harmonics import PixelSet, mode_ell, mode_matrix, monopole_dipole
from cmbfit.likelihood.pixel.likelihood import PixelLikelihood
from cmbfit.likelihood.pixel.noise import Noise
from cmbfit.likelihood.pixel.summary import summarise
from cmbfit.sky.beams import Beam
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.sky.preprocess import require_data


def pixel_set(mask_t: Mask | None, mask_p: Mask | None) -> PixelSet:
    """Return the pixels with a weight above zero in a mask for I and a mask for Q and U; None: not used.

    A pixel likelihood uses a pixel or not: weights between 0 and 1 count as 1.
    """
    masks = [m for m in (mask_t, mask_p) if m is not None]
    if not masks:
        raise LikelihoodError("neither a mask for I nor one for Q and U: no pixel is left")
    if len({(m.nside, m.coord) for m in masks}) != 1:
        raise LikelihoodError(
            f"the masks differ: {[(m.name, m.nside, m.coord) for m in masks]}; degrade or rotate one"
        )
    none = np.zeros(0, dtype=np.int64)
    t, p = (none if m is None else np.flatnonzero(m.support) for m in (mask_t, mask_p))
    return PixelSet(masks[0].nside, t, p)


def data_vector(stokes: StokesMap, pixels: PixelSet) -> Array:
    """Return I, Q, U at the used pixels, shape (len(pixels),)."""
    if stokes.nside != pixels.nside:
        raise LikelihoodError(
            f"map {stokes.name!r} has nside {stokes.nside}, the masks {pixels.nside}: use change_resolution first"
        )
    return np.concatenate([stokes.i[pixels.t], stokes.q[pixels.p], stokes.u[pixels.p]])


def signal_covariance(
    pixels: PixelSet,
    dl: Mapping[str, Array],
    lmin: int,
    lmax: int,
    windows: Mapping[str, Array] | None = None,
) -> Array:
    """Return the pixel covariance S = Y C Y^T of given spectra, uK^2, shape (n, n).

    Parameters
    ----------
    dl : mapping of str to ndarray
        Pair to D_l in uK^2 from l = 0; absent pairs are zero.
    """
    modes = mode_matrix(pixels, lmin, lmax, windows)
    ell = mode_ell(lmin, lmax)
    to_cl = dl_to_cl(ell)
    out = np.zeros((len(pixels), len(pixels)))
    for i, a in enumerate(pixels.fields):
        weighted = np.zeros((len(pixels), len(ell)))  # row a of C Y^T
        for j, b in enumerate(pixels.fields):
            if (pair := pair_of(a, b)) in dl:
                weighted += modes[:, j] * (np.asarray(dl[pair])[ell] * to_cl)
        out += modes[:, i] @ weighted.T
    return (out + out.T) / 2


def pixel_likelihood(
    info: DataSetInfo,
    stokes: StokesMap,
    mask_t: Mask | None,
    mask_p: Mask | None,
    noise: Noise,
    *,
    ranges: Mapping[str, tuple[int, int]],
    fiducial: Mapping[str, Array] | None = None,
    lmax: int | None = None,
    beam: Beam | None = None,
    templates: Sequence[StokesMap] = (),
    marginalise_dipole: bool = True,
) -> PixelLikelihood:
    """Return the likelihood of one map.

    Parameters
    ----------
    stokes : StokesMap
        uK_CMB at nside 4-16, degraded through a_lm (:func:`cmbfit.sky.resolution.change_resolution`).
    mask_t, mask_p : Mask or None
        Which pixels of I, and of Q and U, are used; None leaves the field out.
    noise : Noise
        Of the used pixels: I, then Q, then U. A band-limited map needs regularisation noise
        (:func:`cmbfit.likelihood.pixel.noise.regularise`).
    ranges : mapping of str to (int, int)
        Pair to the multipoles that the theory gives.
    fiducial : mapping of str to ndarray, optional
        D_l in uK^2 from l = 0 for what is not varied, up to `lmax`.
    lmax : int, optional
        Highest multipole of the signal in the map, up to 3 nside; default: the highest varied one.
        Multipoles above the varied ones count as noise with the fiducial's power.
    beam : Beam, optional
        Beam times pixel window of the map; 1 when absent.
    templates : sequence of StokesMap
        Marginalised over, each with one amplitude for the used Stokes parameters together.
    marginalise_dipole : bool
        Marginalise over monopole and dipole of I as well.

    Raises
    ------
    LikelihoodError, MapError
        When map, masks, noise, beam and spectra do not fit together.
    """
    pixels = pixel_set(mask_t, mask_p)
    for mask in (mask_t, mask_p):
        if mask is not None and mask.nside == stokes.nside:
            require_data(stokes, mask)
    data = data_vector(stokes, pixels)
    if not ranges:
        raise LikelihoodError(f"{info.name}: no spectrum is varied; give ranges such as {{'tt': (2, 29)}}")
    low, high = min(a for a, _ in ranges.values()), max(b for _, b in ranges.values())
    top = high if lmax is None else max(lmax, high)
    windows = None if beam is None else {"t": beam.t, "e": beam.e, "b": beam.b}
    modes = mode_matrix(pixels, low, high, windows)
    for a, b in ((2, low - 1), (high + 1, top)):
        if a <= b:
            given = _fiducial(info.name, fiducial or {}, pixels.fields, b)
            noise = noise.plus(signal_covariance(pixels, given, a, b, windows))
    columns = [data_vector(t, pixels)[:, None] for t in templates]
    if marginalise_dipole and len(pixels.t):
        columns.append(monopole_dipole(pixels))
    summary = summarise(
        data,
        modes,
        mode_ell(low, high),
        pixels.fields,
        noise,
        np.concatenate(columns, axis=1) if columns else None,
    )
    return PixelLikelihood(info, summary, ranges, fiducial)


def _fiducial(name: str, fiducial: Mapping[str, Array], fields: str, lmax: int) -> Mapping[str, Array]:
    """Check that the fiducial reaches lmax for the auto spectra of the fields."""
    for pair in pairs_of(fields):
        if pair[0] == pair[1] and pair not in fiducial:
            raise LikelihoodError(f"{name}: multipoles that are not varied need a fiducial {pair}")
    for pair, values in fiducial.items():
        if pair in pairs_of(fields) and len(values) <= lmax:
            raise LikelihoodError(f"{name}: fiducial {pair} stops at l = {len(values) - 1}, {lmax} is needed")
    return {pair: values for pair, values in fiducial.items() if pair in pairs_of(fields)}
