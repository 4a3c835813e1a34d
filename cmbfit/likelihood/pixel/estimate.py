r"""Spectra from the same summary: quadratic maximum likelihood, slices of ln L, goodness of fit.

With y = v - F R A^-1 R^T v and H = F - F R A^-1 R^T F (data and information weighted by the inverse total
covariance of a fiducial model C), the estimator

    C_hat = C + Fisher^-1 (q - b),   q_i = y^T E_i y / 2,   b_i = tr(E_i H) / 2,   Fisher_ij = tr(E_i H E_j H) / 2

is unbiased for any fiducial and of least variance at it (Tegmark 1997, astro-ph/9611174; Tegmark & de
Oliveira-Costa 2001, astro-ph/0012120). E_i = dC / dC_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.pixel.blocks import block_roots, dl_to_cl, pairs_of
from cmbfit.likelihood.pixel.likelihood import PixelLikelihood
from cmbfit.sky.maps import Array
from cmbfit.theory.spectra import Spectra


@dataclass(frozen=True, eq=False)
class Weighted:
    """Data and information of the modes under the total covariance of one model.

    Attributes
    ----------
    y : ndarray, shape (n_fields, n_lm)
        Y^T C_tot^-1 d.
    information : ndarray, shape (n_fields, n_lm, n_fields, n_lm)
        Y^T C_tot^-1 Y.
    cl : dict
        Pair to the model's C_l at the summary's multipoles, uK^2.
    """

    y: Array
    information: Array
    cl: dict[str, Array]


def weigh(like: PixelLikelihood, fiducial: Spectra) -> Weighted:
    """Return the modes weighted by the inverse total covariance of one model; on the CPU."""
    like, fiducial = like.to("cpu"), Spectra({pair: x.detach().cpu() for pair, x in fiducial.dl.items()})
    summary, fields = like.summary, like.summary.fields
    blocks = like.blocks(fiducial)
    roots, possible = block_roots(blocks, fields, like.floor)
    if fiducial.batch != 1 or not bool(possible.all()):
        raise LikelihoodError(f"{like.info.name}: the fiducial must be one model that is a covariance")
    r = {key: x[:, like.mode_index] for key, x in roots.items()}
    with torch.no_grad():
        a = like.information(r)[0].numpy()
        u = like.rooted_score(r)[0].numpy()
    n_f, n_lm = summary.score.shape
    blocks_of_fr = np.zeros((n_f, n_lm, n_f, n_lm))  # F R
    for (f, g), x in r.items():
        blocks_of_fr[:, :, g] += summary.fisher[:, :, f] * x[0].numpy()
    fr = blocks_of_fr.reshape(n_f * n_lm, -1)
    low = scipy.linalg.cholesky(a, lower=True)
    half = scipy.linalg.solve_triangular(low, fr.T, lower=True)
    y = summary.score.ravel() - half.T @ scipy.linalg.solve_triangular(low, u, lower=True)
    information = summary.matrix() - half.T @ half
    return Weighted(
        y.reshape(n_f, n_lm),
        information.reshape(summary.fisher.shape),
        {pair: x[0].detach().numpy() for pair, x in blocks.items()},
    )


@dataclass(frozen=True, eq=False)
class Bandpowers:
    """Quadratic estimates of single multipoles.

    Attributes
    ----------
    pair : ndarray of str, shape (n,)
    ell : ndarray, shape (n,)
    dl : ndarray, shape (n,)
        D_l in uK^2.
    covariance : ndarray, shape (n, n)
        Inverse Fisher matrix: exact covariance if the fiducial is true.
    """

    pair: NDArray[np.str_]
    ell: NDArray[np.int64]
    dl: Array
    covariance: Array


def quadratic_estimate(like: PixelLikelihood, fiducial: Spectra) -> Bandpowers:
    """Return D_l of every varied pair and multipole.

    Multipoles that are not varied are taken as known at the fiducial.
    """
    summary, fields = like.summary, like.summary.fields
    w = weigh(like, fiducial)
    labels = [
        (pair, ell)
        for pair, (low, high) in like.ranges.items()
        for ell in range(low, high + 1)
        if pair in pairs_of(fields)
    ]
    groups = {ell: np.flatnonzero(summary.ell == ell) for _, ell in labels}
    score = np.empty(len(labels))
    for k, (pair, ell) in enumerate(labels):
        a, b = (fields.index(x) for x in pair)
        m = groups[ell]
        twice = 1.0 if a == b else 2.0
        power = float(w.y[a, m] @ w.y[b, m])
        bias = float(np.trace(w.information[a, m][:, b][:, m]))
        score[k] = 0.5 * twice * (power - bias)
    fisher = np.empty((len(labels), len(labels)))
    for i, (first, l1) in enumerate(labels):
        for j, (second, l2) in enumerate(labels[: i + 1]):
            fisher[i, j] = fisher[j, i] = _fisher(
                w.information, fields, first, groups[l1], second, groups[l2]
            )
    to_dl = 1 / dl_to_cl(np.array([ell for _, ell in labels]))
    inverse = np.linalg.inv(fisher)
    fid = np.array([w.cl[pair][ell - summary.lmin] for pair, ell in labels])
    return Bandpowers(
        np.array([pair for pair, _ in labels]),
        np.array([ell for _, ell in labels]),
        to_dl * (fid + inverse @ score),
        to_dl[:, None] * inverse * to_dl,
    )


def _fisher(
    h: Array, fields: str, first: str, m: NDArray[np.int64], second: str, n: NDArray[np.int64]
) -> float:
    """tr(E_1 H E_2 H) / 2 with E = unit of a pair at one l, both orders of its two fields."""
    total = 0.0
    a, b = (fields.index(x) for x in first)
    c, d = (fields.index(x) for x in second)
    for p, q in {(a, b), (b, a)}:
        for s, t in {(c, d), (d, c)}:
            # E_1 = |p m><q m|, E_2 = |s n><t n|: tr = sum H[q m, s n] H[t n, p m]
            total += float((h[q, m][:, s][:, n] * h[p, m][:, t][:, n]).sum())
    return 0.5 * total


def slice_log_prob(like: PixelLikelihood, fiducial: Spectra, pair: str, ell: int, dl: Array) -> Array:
    """Return ln L along one auto spectrum's multipole, the others at the fiducial, less its value there.

    Changing C_l by x changes the covariance by x E_l, of rank 2 l + 1: with H_l = W diag(h) W^T and
    g = W^T y_l the change of ln L is -1/2 sum [ln(1 + x h) - x g^2 / (1 + x h)], exactly.

    Parameters
    ----------
    pair : str
        tt, ee or bb.
    ell : int
    dl : ndarray, shape (n,)
        D_l in uK^2.

    Returns
    -------
    ndarray, shape (n,)
        -inf where the power is so negative that the covariance is no longer positive.
    """
    if pair[0] != pair[1] or pair[0] not in like.summary.fields:
        raise LikelihoodError(f"slices go along an auto spectrum of the maps, not {pair}")
    w = weigh(like, fiducial)
    field = like.summary.fields.index(pair[0])
    m = np.flatnonzero(like.summary.ell == ell)
    h, axes = np.linalg.eigh(w.information[field, m][:, field][:, m])
    g = axes.T @ w.y[field, m]
    x = np.asarray(dl)[:, None] * dl_to_cl(np.array([ell])) - w.cl[pair][ell - like.summary.lmin]
    inner = 1 + x * h
    with np.errstate(invalid="ignore", divide="ignore"):
        value = -0.5 * (np.log(inner) - x * g**2 / inner).sum(axis=1)
    return np.where((inner > 0).all(axis=1), value, -np.inf)
