"""Harmonic internal linear combination of several bands, for T, E and B apart.

In each bin of l the weights w = C^-1 1 / (1^T C^-1 1) minimise the variance of sum_i w_i a_i with sum w = 1
(Tegmark, de Oliveira-Costa & Hamilton 2003, astro-ph/0302496): the CMB, equal in all bands in uK_CMB,
is kept and whatever differs between bands is suppressed. C is measured on the data themselves, so
chance correlations of CMB and foregrounds remove a fraction (n_bands - 1) / N_modes of the CMB's power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.sky.beams import Beam
from cmbfit.sky.harmonic import (
    Alm,
    alm2cl,
    alm2stokes,
    common_nside,
    ell_of,
    require_full_sky,
    scale_alm,
    stokes2alm,
)
from cmbfit.sky.maps import Array, Mask, StokesMap, check_together


@dataclass(frozen=True, eq=False)
class IlcWeights:
    """Weights of a harmonic ILC.

    Attributes
    ----------
    edges : tuple of int
        Half-open bins [edges[k], edges[k + 1]), edges[-1] = lmax + 1.
    weights : ndarray, shape (3, n_bins, n_bands)
        For T, E and B; sum to 1 over bands; 0 for a band whose beam is under the floor in the bin.
    bias : ndarray, shape (3, n_bins)
        Expected fraction of CMB power lost to chance correlations, (n_bands used - 1) / N_modes.
    names : tuple of str
    """

    edges: tuple[int, ...]
    weights: Array
    bias: Array
    names: tuple[str, ...]

    def per_ell(self) -> Array:
        """Return the weights for each l, shape (3, n_bands, lmax + 1); zero below the first edge."""
        lmax = self.edges[-1] - 1
        out = np.zeros((3, self.weights.shape[2], lmax + 1))
        for k, (low, high) in enumerate(pairwise(self.edges)):
            out[:, :, low:high] = self.weights[:, k, :, None]
        return out


def common_beam(teb: Sequence[Alm], beams: Sequence[Beam], new: Beam, lmax: int, floor: float) -> Alm:
    """Return all bands' coefficients with the beam `new`, zero where a band's own is below `floor`.

    Shape (n_bands, 3, alm_size(lmax)).
    """
    target = new.cut(lmax).teb
    out = []
    for alm, beam in zip(teb, beams, strict=True):
        own = beam.cut(lmax).teb
        ratio = np.where(np.abs(own) >= floor, target / np.where(np.abs(own) >= floor, own, 1.0), 0.0)
        out.append([scale_alm(a, r) for a, r in zip(alm, ratio, strict=True)])
    return np.array(out)


def find_weights(
    alm: Alm, usable: NDArray[np.bool_], edges: Sequence[int], names: Sequence[str], fsky: float = 1.0
) -> IlcWeights:
    """Compute ILC weights from coefficients at a common beam.

    Parameters
    ----------
    alm : ndarray, shape (n_bands, 3, alm_size(lmax))
    usable : ndarray of bool, shape (n_bands, 3, lmax + 1)
        Where a band's beam is above the floor; a band counts in a bin when it is usable at every l >= 2 of it.
    edges : sequence of int
        From 0 or 2 upwards, ending at lmax + 1.
    fsky : float
        Fraction of modes that are independent, for the bias.

    Raises
    ------
    MapError
        When edges do not rise to lmax + 1, no band is usable in a bin, or a bin holds too few modes
        (bias above 10%).
    """
    n_bands = alm.shape[0]
    lmax = usable.shape[2] - 1
    edges = tuple(int(e) for e in edges)
    if len(edges) < 2 or (np.diff(edges) <= 0).any() or edges[0] < 0 or edges[-1] != lmax + 1:
        raise MapError(f"ILC: edges {edges}, expected rising multipoles that end at lmax + 1 = {lmax + 1}")
    ell = np.arange(lmax + 1)
    weights, bias = np.zeros((3, len(edges) - 1, n_bands)), np.zeros((3, len(edges) - 1))
    for f in range(3):
        cl = np.array([[alm2cl(alm[i, f], alm[j, f]) for j in range(n_bands)] for i in range(n_bands)])
        for k, (low, high) in enumerate(pairwise(edges)):
            span = ell[max(low, 2) : high]  # no CMB monopole or dipole to learn from
            use = np.flatnonzero(usable[:, f, span].all(axis=1))
            modes = fsky * float(np.sum(2 * span + 1))
            if use.size == 0:
                raise MapError(
                    f"ILC: no band has a beam above the floor in the bin {low}-{high - 1} of {'TEB'[f]}"
                )
            bias[f, k] = (use.size - 1) / modes if modes > 0 else np.inf
            if bias[f, k] > 0.1:
                raise MapError(
                    f"ILC: {modes:.0f} modes in the bin {low}-{high - 1} for {use.size} bands lose "
                    f"{bias[f, k]:.0%} of the CMB power to chance: use wider bins"
                )
            c = np.sum((2 * span + 1) * cl[np.ix_(use, use)][:, :, span], axis=2)
            scale = np.sqrt(np.diag(c))
            if (scale == 0).any():
                raise MapError(f"ILC: band {names[use[int(scale.argmin())]]!r} is zero in {'TEB'[f]}")
            # rows and columns scaled to one: bands of very different noise stay well conditioned
            solved = np.linalg.solve(c / np.outer(scale, scale), 1 / scale) / scale
            weights[f, k, use] = solved / solved.sum()
    return IlcWeights(edges, weights, bias, tuple(names))


def combine(alm: Alm, w: IlcWeights) -> Alm:
    """Return sum_i w_i a_i, shape (3, alm_size(lmax)).

    Apply it to parts of a simulation (CMB, foregrounds, noise alone) to measure what each leaves.
    """
    lmax = w.edges[-1] - 1
    return np.einsum("fbn,bfn->fn", w.per_ell()[:, :, ell_of(lmax)], alm)


@dataclass(frozen=True, eq=False)
class IlcResult:
    """An ILC map, its weights and its coefficients of shape (3, alm_size(lmax))."""

    stokes: StokesMap
    weights: IlcWeights
    alm: Alm


def harmonic_ilc(
    maps: Sequence[StokesMap],
    beams: Sequence[Beam],
    new: Beam,
    edges: Sequence[int],
    *,
    mask: Mask | None = None,
    floor: float = 1e-2,
    n_iter: int = 3,
    name: str = "ILC",
) -> IlcResult:
    """Combine bands into one CMB map with the beam `new`.

    Parameters
    ----------
    maps : sequence of StokesMap
        uK_CMB, monopole and dipole removed, no missing pixels.
    beams : sequence of Beam
        Beam times pixel window of each map. A band is left out of the bins where it falls below `floor`.
    edges : sequence of int
        Bins of l for the weights; the last edge is lmax + 1.
    mask : Mask, optional
        Apodised; weights are then learnt outside the Galaxy but applied to the whole maps.
    """
    nside = common_nside(maps, "ILC")
    if len(beams) != len(maps):
        raise MapError(f"ILC: {len(beams)} beams for {len(maps)} maps")
    lmax = int(edges[-1]) - 1
    for m in maps:
        require_full_sky(m, "ILC")
    teb = [stokes2alm(m.iqu, lmax, n_iter) for m in maps]
    usable = np.stack([np.abs(b.cut(lmax).teb) >= floor for b in beams])
    alm = common_beam(teb, beams, new, lmax, floor)
    names = [m.name for m in maps]
    if mask is None:
        w = find_weights(alm, usable, edges, names)
    else:
        check_together(maps[0], mask)
        cut = [stokes2alm(m.iqu * mask.weights, lmax, n_iter) for m in maps]
        w = find_weights(common_beam(cut, beams, new, lmax, floor), usable, edges, names, mask.fsky_modes)
    out = combine(alm, w)
    record = {
        "step": "harmonic ILC",
        "bands": names,
        "edges": list(w.edges),
        "weights": w.weights.tolist(),
        "bias": w.bias.tolist(),
        "mask": mask.name if mask else None,
        "floor": floor,
        "histories": [[dict(r) for r in m.history] for m in maps],
    }
    i, q, u = alm2stokes(out, nside)
    return IlcResult(StokesMap(i, q, u, coord=maps[0].coord, name=name, history=(record,)), w, out)
