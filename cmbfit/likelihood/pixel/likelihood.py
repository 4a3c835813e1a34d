r"""Exact Gaussian likelihood of masked low-resolution maps of I, Q, U, batched over models.

-2 ln L = d^T (M + Y C Y^T)^-1 d + ln |M + Y C Y^T| + n ln 2 pi. With C = R R^T block by block (T, E, B of
one l, m) and A = 1 + R^T F R, Sherman, Morrison and Woodbury give

    -2 ln L = d^T M^-1 d - |L^-1 R^T v|^2 + ln |A| + ln |M| + n ln 2 pi,     A = L L^T,

so that a model costs one Cholesky factor of the number of modes, whatever the number of pixels, and the
pixels are read once (:mod:`cmbfit.likelihood.pixel.summary`). Float64 throughout; differentiable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, nuisance_values, sources
from cmbfit.likelihood.pixel.blocks import SpectrumBlocks, block_roots
from cmbfit.likelihood.pixel.density import gaussian_density
from cmbfit.likelihood.pixel.summary import HarmonicSummary
from cmbfit.sky.maps import Array
from cmbfit.theory.spectra import Spectra

_FLOOR = 1e-10  # of the noise power of a field's best measured mode


class PixelLikelihood(OnDevice):
    """ln L of T, Q, U maps through their harmonic summary; the full normalised density.

    Parameters
    ----------
    info : DataSetInfo
    summary : HarmonicSummary
    ranges : mapping of str to (int, int)
        Pair to the multipoles that the theory gives, both ends included.
    fiducial : mapping of str to ndarray, optional
        D_l in uK^2 from l = 0 of what is not varied; tb and eb default to zero.
    files : mapping, optional
        Data files and their sha256, for the record.
    max_bytes : int, optional
        Working memory of a call; models are taken in chunks of max_bytes / (32 n_modes^2), at least one.
        Default: 16 MiB on a CPU, whose cache it fits (twice as fast as 100 MiB), 1 GiB on a GPU. With gradients
        each chunk is computed again on the way back rather than kept.

    Attributes
    ----------
    summary : HarmonicSummary
    """

    def __init__(
        self,
        info: DataSetInfo,
        summary: HarmonicSummary,
        ranges: Mapping[str, tuple[int, int]],
        fiducial: Mapping[str, Array] | None = None,
        files: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self.info = info
        self.summary = summary
        self.blocks = SpectrumBlocks(info.name, summary.fields, summary.lmin, summary.lmax, ranges, fiducial)
        self.pairs = self.blocks.pairs
        self.lmax = self.blocks.lmax
        self.ranges = dict(ranges)
        self._files = dict(files or {})
        self._max_bytes = max_bytes
        self._fisher = torch.from_numpy(np.ascontiguousarray(summary.fisher))
        self._score = torch.from_numpy(np.ascontiguousarray(summary.score))
        self.mode_index = torch.from_numpy(np.asarray(summary.ell - summary.lmin))
        diagonal = np.diagonal(summary.matrix()).reshape(len(summary.fields), -1)
        if not (diagonal.max(1) > 0).all():
            raise LikelihoodError(f"{info.name}: some field is not measured at all; leave it out")
        self.floor = torch.from_numpy(_FLOOR / diagonal.max(1))
        self._constant = summary.chi2_noise + summary.log_det + summary.n_data * np.log(2 * np.pi)

    @property
    def chunk(self) -> int:
        """Models that are computed at once."""
        default = 1 << 30 if self._score.is_cuda else 1 << 24
        return max(1, (self._max_bytes or default) // (32 * self.summary.n_modes**2))

    def settings(self) -> dict[str, Any]:
        """Return data files and ranges."""
        return {
            "kind": "pixel",
            **sources(self._files, self._fisher, self._score),
            "ranges": {pair: list(r) for pair, r in self.ranges.items()},
            "modes": self.summary.n_modes,
            "n_data": self.summary.n_data,
        }

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L; -inf where the spectra are no covariance (TE^2 > TT EE, negative power, NaN)."""
        nuisance_values(self.info, nuisance, spectra.batch)
        blocks = self.blocks(spectra)
        names = tuple(blocks)
        rows = torch.stack([blocks[name] for name in names], dim=1)  # shape: (batch, n_pairs, n_l)
        parts = []
        for chunk in rows.split(self.chunk):
            if chunk.requires_grad and len(rows) > self.chunk:
                parts.append(checkpoint(self._evaluate, chunk, names, use_reentrant=False))
            else:
                parts.append(self._evaluate(chunk, names))
        return torch.cat(parts) if parts else rows.new_zeros(0)

    def _evaluate(self, rows: torch.Tensor, names: tuple[str, ...]) -> torch.Tensor:
        c = {name: rows[:, i] for i, name in enumerate(names)}
        roots, possible = block_roots(c, self.summary.fields, self.floor)
        r = {key: torch.where(possible[:, None], x, 0.0)[:, self.mode_index] for key, x in roots.items()}
        # A is 1 + a positive matrix: it always has a factor
        value = gaussian_density(self.information(r), self.rooted_score(r), 1.0) - 0.5 * self._constant
        return torch.where(possible, value, -torch.inf)

    def information(self, r: Mapping[tuple[int, int], torch.Tensor]) -> torch.Tensor:
        """Return A = 1 + R^T F R, shape (batch, n_modes, n_modes)."""
        n_f = len(self.summary.fields)
        half = {}
        for g in range(n_f):
            for h in range(n_f):
                terms = [r[f, g][:, :, None] * self._fisher[f, :, h] for f in range(g, n_f)]
                half[g, h] = sum(terms[1:], terms[0])
        rows = []
        for g in range(n_f):
            blocks = []
            for h in range(n_f):
                terms = [half[g, f] * r[f, h][:, None, :] for f in range(h, n_f)]
                blocks.append(sum(terms[1:], terms[0]))
            rows.append(torch.cat(blocks, dim=2) if n_f > 1 else blocks[0])
        a = torch.cat(rows, dim=1) if n_f > 1 else rows[0]
        return a + torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)

    def rooted_score(self, r: Mapping[tuple[int, int], torch.Tensor]) -> torch.Tensor:
        """Return R^T v, shape (batch, n_modes)."""
        n_f = len(self.summary.fields)
        parts = []
        for g in range(n_f):
            terms = [r[f, g] * self._score[f] for f in range(g, n_f)]
            parts.append(sum(terms[1:], terms[0]))
        return torch.cat(parts, dim=1)
