"""Distances at a few points in numpy, with gradients by hand: what torch's overhead would dominate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cmbfit.likelihood.low_redshift.bao import BaoGaussian
from cmbfit.likelihood.low_redshift.measured import DistanceLikelihood
from cmbfit.likelihood.low_redshift.supernovae import FoldedSupernovae, Supernovae
from cmbfit.theory.background.densities import OMEGA_PHOTON
from cmbfit.theory.background.distances import Distances


class FewDistances:
    """ln L of Gaussian distances in flat LCDM; see :class:`~cmbfit.likelihood.low_redshift.together.Together`.

    Parameters
    ----------
    likelihoods : sequence of BaoGaussian, Supernovae
        With M marginalised.
    """

    def __init__(self, likelihoods: Sequence[DistanceLikelihood]) -> None:
        likes = [FoldedSupernovae(x) if isinstance(x, Supernovae) else x for x in likelihoods]
        distances = Distances(np.concatenate([x.z for x in likes]))
        n = sum(len(x.z) for x in likes)
        self._matrix = distances._matrix.numpy()
        densities = distances._densities
        self._cube = densities._cube.numpy() - 1.0
        fixed = densities._fixed_neutrinos.numpy()
        self._base = fixed[:-1] - fixed[-1] + OMEGA_PHOTON * (densities._fourth.numpy() - 1.0)
        self._bao, self._supernovae, start = [], [], 0
        for like in likes:
            dm, dh = (slice(x, x + len(like.z)) for x in (start, n + start))
            start += len(like.z)
            if isinstance(like, BaoGaussian):
                white, target = like._white.numpy(), like._target[:, 0].numpy()
                own = (like._matrix.numpy(), like._horizon[:, 0].numpy(), like._constant[:, 0].numpy())
                self._bao.append((dm, dh, *own, white, target))
            elif isinstance(like, FoldedSupernovae):
                self._supernovae.append(
                    (dm, like._matrix.numpy(), like._target[:, 0].numpy(), float(like._norm))
                )

    @staticmethod
    def can(likelihoods: Sequence[DistanceLikelihood]) -> bool:
        """Return whether these are Gaussian and without parameters of their own."""
        kinds = (BaoGaussian, Supernovae, FoldedSupernovae)
        return all(isinstance(x, kinds) and getattr(x, "offset", None) is None for x in likelihoods)

    def __call__(
        self,
        matter: Any,  # shape: () or (batch,)
        log_derived: np.ndarray,  # shape: (n_derived[, batch]): ln H0, ln of the sound horizon
    ) -> tuple[Any, Any, np.ndarray]:
        """Return ln L and its slopes by the densities of matter and by `log_derived`."""
        wide = log_derived.ndim == 2

        def column(x: np.ndarray) -> np.ndarray:
            return x[:, None] if wide else x

        h2 = np.exp(2 * log_derived[0]) * 1e-4
        total = column(self._base) + column(self._cube) * matter + h2
        root = 1 / np.sqrt(total)
        both = self._matrix @ root
        log, pull, slope = np.log(both), np.zeros_like(both), np.zeros_like(log_derived)
        value: Any = 0.0
        for dm, dh, matrix, horizon, constant, white, target in self._bao:
            at = matrix @ np.concatenate([log[dm], log[dh]]) + column(constant)
            predicted = np.exp(at + column(horizon) * log_derived[1])
            residual = column(target) - white @ predicted
            value = value - 0.5 * (residual * residual).sum(0)
            back = predicted * (white.T @ residual)
            slope[1] += horizon @ back
            of_log = matrix.T @ back
            pull[dm] += of_log[: dm.stop - dm.start]
            pull[dh] += of_log[dm.stop - dm.start :]
        for dm, matrix, target, norm in self._supernovae:
            residual = column(target) - matrix @ log[dm]
            value = value + (norm - 0.5 * (residual * residual).sum(0))
            pull[dm] += matrix.T @ residual
        of_total = -0.5 * (self._matrix.T @ (pull / both)) * root / total
        slope[0] += 2 * h2 * of_total.sum(0)
        return value, self._cube @ of_total, slope
