r"""What a Gaussian map says about its low multipoles: a few sums over pixels, made once.

A data vector d = Y s + e with modes s of covariance C (block diagonal: one block of T, E, B for each
l, m) and e of covariance M enters the likelihood of C only through

    F = Y^T M^-1 Y,    v = Y^T M^-1 d,    d^T M^-1 d,    ln |M|

(Sherman-Morrison-Woodbury). Templates T whose amplitudes are unknown are marginalised in the exact limit of
infinite prior variance, M^-1 -> M^-1 - M^-1 T (T^T M^-1 T)^-1 T^T M^-1: nothing of the templates is
left, at any size. What remains is the density of the data projected on the complement of the templates
(Tegmark et al. 1998, astro-ph/9708020; Rybicki & Press 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.pixel.noise import Noise
from cmbfit.sky.maps import Array


@dataclass(frozen=True, eq=False)
class HarmonicSummary:
    """Sums over pixels that determine the likelihood of spectra.

    Attributes
    ----------
    fields : str
        Harmonic fields in order: "t", "eb" or "teb".
    ell : ndarray, shape (n_lm,)
        l of each real mode of a field.
    fisher : ndarray, shape (n_fields, n_lm, n_fields, n_lm)
        F in uK^-2.
    score : ndarray, shape (n_fields, n_lm)
        v in uK^-1.
    chi2_noise : float
        d^T M^-1 d with the templates projected out.
    log_det : float
        ln |M| + ln |T^T M^-1 T| - ln |T^T T|.
    n_data : int
        Pixels less templates.
    """

    fields: str
    ell: NDArray[np.int64]
    fisher: Array
    score: Array
    chi2_noise: float
    log_det: float
    n_data: int

    @property
    def lmin(self) -> int:
        """Lowest multipole."""
        return int(self.ell[0])

    @property
    def lmax(self) -> int:
        """Highest multipole."""
        return int(self.ell[-1])

    @property
    def n_modes(self) -> int:
        """Real modes of all fields."""
        return len(self.fields) * len(self.ell)

    def matrix(self) -> Array:
        """Return F as a square matrix, shape (n_modes, n_modes)."""
        return self.fisher.reshape(self.n_modes, self.n_modes)


def summarise(
    data: Array,
    modes: Array,
    ell: NDArray[np.int64],
    fields: str,
    noise: Noise,
    templates: Array | None = None,
) -> HarmonicSummary:
    """Return the sums over pixels.

    Parameters
    ----------
    data : ndarray, shape (n,)
        uK.
    modes : ndarray, shape (n, n_fields, n_lm)
        From :func:`cmbfit.likelihood.pixel.harmonics.mode_matrix`.
    ell : ndarray, shape (n_lm,)
    fields : str
    noise : Noise
        Everything that the varied modes are not: instrument noise, higher multipoles, regularisation.
    templates : ndarray, shape (n, k), optional
        Each column is marginalised over; its unit does not matter.

    Raises
    ------
    LikelihoodError
        If shapes disagree, data are not finite, or templates are not independent on the used pixels.
    """
    n = len(data)
    if modes.shape != (n, len(fields), len(ell)) or len(noise) != n:
        raise LikelihoodError(
            f"{n} data, modes of shape {modes.shape} and noise of {len(noise)} pixels do not fit together"
        )
    if not np.isfinite(data).all():
        raise LikelihoodError("the data hold NaN or infinite pixels; mask them")
    y = modes.reshape(n, -1)
    t = np.zeros((n, 0)) if templates is None else _unit_columns(templates, n)
    # nothing depends on the templates' amplitudes: take most of them out before squares lose digits
    data = data - t @ np.linalg.lstsq(t, data, rcond=None)[0]
    solved, log_det = noise.solve(np.concatenate([y, data[:, None], t], axis=1))
    k = y.shape[1]
    ny, nd, nt = solved[:, :k], solved[:, k], solved[:, k + 1 :]
    fisher, score, chi2 = y.T @ ny, ny.T @ data, float(data @ nd)
    if t.shape[1]:
        gram = t.T @ nt
        low = scipy.linalg.cholesky(gram, lower=True)  # columns are independent: positive definite
        white_y = scipy.linalg.solve_triangular(low, nt.T @ y, lower=True)
        white_d = scipy.linalg.solve_triangular(low, nt.T @ data, lower=True)
        fisher = fisher - white_y.T @ white_y
        score = score - white_y.T @ white_d
        chi2 -= float(white_d @ white_d)
        log_det += 2 * float(np.log(np.diag(low)).sum()) - float(np.linalg.slogdet(t.T @ t)[1])
    shape = (len(fields), len(ell))
    return HarmonicSummary(
        fields=fields,
        ell=np.asarray(ell),
        fisher=((fisher + fisher.T) / 2).reshape(*shape, *shape),
        score=score.reshape(shape),
        chi2_noise=chi2,
        log_det=log_det,
        n_data=n - t.shape[1],
    )


def _unit_columns(templates: Array, n: int) -> Array:
    """Check templates and scale them to unit length: their amplitude is free anyway."""
    templates = np.asarray(templates, dtype=np.float64)
    if templates.ndim != 2 or templates.shape[0] != n or not np.isfinite(templates).all():
        raise LikelihoodError(
            f"templates: expected finite columns of {n} pixels, found shape {templates.shape}"
        )
    length = np.linalg.norm(templates, axis=0)
    if (length == 0).any():
        raise LikelihoodError(
            f"template {int(np.flatnonzero(length == 0)[0])} is zero in every used pixel; leave it out"
        )
    unit = templates / length
    smallest = np.linalg.svd(unit, compute_uv=False)[-1]
    if templates.shape[1] >= n or smallest < 1e-7:
        raise LikelihoodError(
            f"templates are not independent on the used pixels (smallest singular value {smallest:.1e}); "
            "leave out the ones that repeat others"
        )
    return unit
