r"""The pixel likelihood on its signal-dominated modes only.

With R_0 R_0^T the fiducial signal and R_0^T F R_0 = W diag(s) W^T, the compressed data z = s^-1/2 W^T R_0^T v
have unit noise and signal covariance G^T C G, G = F R_0 W s^-1/2 (Karhunen-Loeve modes: Bond 1995; Tegmark,
Taylor & Heavens 1997, astro-ph/9603021). Modes with signal to noise s below a threshold are dropped; a
threshold near rounding drops just what the mask and the templates hide and changes nothing. The covariance
is linear in the spectra, K = 1 + sum_l C_l P_l, so a batch is one matrix product and one Cholesky factor each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch.utils.checkpoint import checkpoint

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import nuisance_values
from cmbfit.likelihood.pixel.blocks import block_roots, pairs_of
from cmbfit.likelihood.pixel.density import gaussian_density
from cmbfit.likelihood.pixel.likelihood import PixelLikelihood
from cmbfit.sky.maps import Array
from cmbfit.theory.spectra import Spectra


class CompressedPixelLikelihood(OnDevice):
    """Same interface and, up to the dropped modes, same numbers as a :class:`PixelLikelihood`.

    Parameters
    ----------
    full : PixelLikelihood
    fiducial : Spectra
        One model that says which modes hold signal; it must give the pairs that `full` varies.
    threshold : float
        Modes with signal to noise power s below it are dropped.
    max_bytes : int
        Largest size of the stored P_l, and of a chunk's working memory (on a CPU 16 MiB at most).

    Attributes
    ----------
    n_modes : int
        Modes that are kept.
    dropped : float
        Sum of |x^2 - 1| s / 2 over the dropped modes, x their data in units of the noise: to first order in
        s the largest error of ln L at the fiducial.
    """

    def __init__(
        self,
        full: PixelLikelihood,
        fiducial: Spectra,
        threshold: float = 1e-8,
        max_bytes: int = 1 << 30,
    ) -> None:
        summary, fields = full.summary, full.summary.fields
        n_f, n_lm = len(fields), len(summary.ell)
        blocks = full.blocks(fiducial)
        roots, possible = block_roots(blocks, fields, full.floor)
        if fiducial.batch != 1 or not bool(possible.all()):
            raise LikelihoodError(f"{full.info.name}: the fiducial must be one model that is a covariance")
        root = np.zeros((n_f, n_lm, n_f, n_lm))
        diagonal = np.arange(n_lm)
        for (i, j), x in roots.items():
            root[i, diagonal, j, diagonal] = x[0].detach().cpu().numpy()[summary.ell - summary.lmin]
        r0 = root.reshape(n_f * n_lm, -1)
        fr = summary.matrix() @ r0
        s, w = scipy.linalg.eigh(r0.T @ fr)
        keep = s > max(threshold, 1e-12 * s[-1])
        u = w.T @ (r0.T @ summary.score.ravel())  # u_i = x_i sqrt(s_i)
        self.n_modes, self.dropped = int(keep.sum()), float(np.abs(u[~keep] ** 2 - s[~keep]).sum() / 2)
        if self.n_modes == 0:
            raise LikelihoodError(
                f"{full.info.name}: no mode has signal to noise above {threshold:g}; lower the threshold"
            )
        scale = w[:, keep] / np.sqrt(s[keep])
        z = u[keep] / np.sqrt(s[keep])
        g = (fr @ scale).reshape(n_f, n_lm, -1)
        self._fields, self._ell, self._full_settings = fields, summary.ell, full.settings()
        self.info, self.pairs, self.lmax = full.info, full.pairs, full.lmax
        self._blocks = full.blocks
        self._threshold = threshold
        self._z = torch.from_numpy(z)
        self._products = torch.from_numpy(self._all_products(g, max_bytes))
        self._names = pairs_of(fields)
        self.floor = full.floor
        self._constant = (
            summary.chi2_noise + summary.log_det + summary.n_data * np.log(2 * np.pi) - float(z @ z)
        )
        self._lower = torch.tril_indices(self.n_modes, self.n_modes)
        self._max_bytes = max_bytes

    def _all_products(self, g: Array, max_bytes: int) -> Array:
        """Lower triangles of P for every pair and l, shape (n_pairs n_l, k (k + 1) / 2)."""
        fields, ell = self._fields, self._ell
        ells = np.arange(ell[0], ell[-1] + 1)
        rows, columns = np.tril_indices(g.shape[2])
        size = 8 * len(pairs_of(fields)) * len(ells) * len(rows)
        if size > max_bytes:
            raise LikelihoodError(
                f"{self.info.name}: the compressed form needs {size / 2**30:.1f} GiB for {g.shape[2]} modes, more than "
                f"{max_bytes / 2**30:.1f}; raise the threshold, or use the PixelLikelihood itself"
            )
        out = np.empty((len(pairs_of(fields)) * len(ells), len(rows)))
        k = 0
        for i in range(len(fields)):
            for j in range(i, len(fields)):
                for multipole in ells:
                    a, b = g[i, ell == multipole], g[j, ell == multipole]
                    product = a.T @ b
                    product = product if i == j else product + product.T
                    out[k] = product[rows, columns]
                    k += 1
        return out

    def settings(self) -> dict[str, Any]:
        """Return the full likelihood's settings and the compression."""
        return {
            **self._full_settings,
            "compressed": {"threshold": self._threshold, "modes": self.n_modes, "dropped": self.dropped},
        }

    @property
    def chunk(self) -> int:
        """Models that are computed at once."""
        most = self._max_bytes if self._z.is_cuda else min(self._max_bytes, 1 << 24)
        return max(1, most // (32 * self.n_modes**2))

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L; -inf where the spectra are no covariance."""
        nuisance_values(self.info, nuisance, spectra.batch)
        c = self._blocks(spectra)
        _, possible = block_roots(c, self._fields, self.floor)
        rows = torch.stack([c[name] for name in self._names], dim=1).flatten(1)
        rows = torch.where(possible[:, None], rows, 0.0)
        parts = []
        for chunk in rows.split(self.chunk):
            if chunk.requires_grad and len(rows) > self.chunk:
                parts.append(checkpoint(self._evaluate, chunk, use_reentrant=False))
            else:
                parts.append(self._evaluate(chunk))
        value = torch.cat(parts) if parts else rows.new_zeros(0)
        return torch.where(possible, value, -torch.inf)

    def _covariance(self, rows: torch.Tensor) -> torch.Tensor:
        """Return K, shape (batch, n_modes, n_modes)."""
        k = self.n_modes
        matrix = rows.new_zeros(len(rows), k, k)
        matrix[:, self._lower[0], self._lower[1]] = rows @ self._products
        return matrix + matrix.tril(-1).mT + torch.eye(k, dtype=rows.dtype, device=rows.device)

    def _evaluate(self, rows: torch.Tensor) -> torch.Tensor:
        z = self._z.expand(len(rows), -1)
        return gaussian_density(self._covariance(rows), z, -1.0) - 0.5 * self._constant

    def chi2(self, spectra: Spectra) -> torch.Tensor:  # shape: (batch,)
        """Return z^T K^-1 z: for the true spectra chi2-distributed with `n_modes` degrees of freedom."""
        c = self._blocks(spectra)
        rows = torch.stack([c[name] for name in self._names], dim=1).flatten(1)
        out = []
        for chunk in rows.split(self.chunk):
            low, _ = torch.linalg.cholesky_ex(self._covariance(chunk))
            z = self._z.expand(len(chunk), -1)[..., None]
            out.append(torch.linalg.solve_triangular(low, z, upper=False).square().sum((-2, -1)))
        return torch.cat(out)
