"""A posterior with every linear step folded into one small matrix.

A linear-decoder emulator gives spectra D = s (a + B C h) with features h(theta), coefficients C,
decoder B and an amplitude s. Windows, calibration scale and whitening are linear too, so for all
Gaussian data sets together chi2 = |sum_g s_g (a_g + B_g C h) - d|^2, where g counts the groups of
data that share a calibration. A QR decomposition of [a_g, B_g] rotates the hundreds of bandpowers
onto the few directions that the decoder can reach; what is orthogonal to them is a constant. All of
this is exact up to rounding: :attr:`CompiledPosterior.fold_difference` states the measured difference.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.posterior import EvaluationCounts, Posterior
from cmbfit.likelihood.simall import TabulatedSpectrum
from cmbfit.theory.emulator.arrays import LOWL_EE_MAX
from cmbfit.theory.emulator.linear import LinearEmulator

log = logging.getLogger(__name__)

Powers = tuple[tuple[str, float], ...]


@dataclass
class _Folded:
    """One folded Gaussian: chi2 = |sum_g s_g (matrix_g h) - target|^2 + constant."""

    groups: list[Powers]  # calibration powers of each group
    matrix: torch.Tensor  # shape: (n_groups * n_rows, n_terms)
    target: torch.Tensor  # shape: (n_rows,)
    constant: torch.Tensor  # shape: ()

    def to(self, device: torch.device | str) -> _Folded:
        return _Folded(self.groups, self.matrix.to(device), self.target.to(device), self.constant.to(device))


def _calibration_powers(like: GaussianBandpowers, pair: str) -> Powers:
    calibration = like.settings()["calibration"]
    return tuple(sorted((name, p[pair]) for name, p in calibration.items() if p.get(pair, 0)))


def _fold(emulator: LinearEmulator, likelihoods: list[GaussianBandpowers]) -> _Folded:
    """Stack the whitened data sets and rotate them onto the decoder's directions."""
    n_rows = sum(len(like.data) for like in likelihoods)
    matrices: dict[Powers, dict[str, torch.Tensor]] = {}
    targets, start = [], 0
    for like in likelihoods:
        whitened, target = like.whitened()
        rows = slice(start, start + len(target))
        start = rows.stop
        targets.append(target)
        for pair, block in whitened.items():
            group = matrices.setdefault(_calibration_powers(like, pair), {})
            if pair not in group:
                group[pair] = torch.zeros(n_rows, emulator.lmax + 1, dtype=block.dtype, device=block.device)
            group[pair][rows, : block.shape[1]] = block
    columns = []
    for group in matrices.values():
        offset, matrix = emulator.fold(group)
        columns.append(torch.cat([offset[:, None], matrix], dim=1))
    basis, upper = torch.linalg.qr(torch.cat(columns, dim=1))
    data = torch.cat(targets)
    target = basis.T @ data
    coefficients = emulator.component_coefficients
    unit = torch.zeros_like(coefficients[:1])
    unit[0, 0] = 1.0  # the first feature is the constant 1
    extended = torch.cat([unit, coefficients], dim=0)  # (1 + n_components, n_terms)
    width = len(extended)
    parts = [upper[:, g * width : (g + 1) * width] @ extended for g in range(len(matrices))]
    return _Folded(list(matrices), torch.cat(parts, dim=0), target, (data - basis @ target).square().sum())


class CompiledPosterior(Posterior):
    """A posterior whose Gaussian data sets are folded; same interface, many times faster.

    Parameters
    ----------
    posterior : Posterior
        With a :class:`~cmbfit.theory.emulator.linear.LinearEmulator`, Gaussian bandpowers of tt, te,
        ee (ee above the log emulator's multipoles), and at most tables of low-l EE besides.
    n_check : int
        Points at which folded and unfolded paths are compared.

    Attributes
    ----------
    fold_difference : float
        Largest |difference| of ln L between the two paths over points of the prior, relative to
        max(1, |ln L|).
    n_directions : int
        Length of the folded residual, against the number of bandpowers.

    Raises
    ------
    LikelihoodError
        If the theory or a data set cannot be folded; use the posterior as it is then.
    """

    def __init__(self, posterior: Posterior, n_check: int = 64) -> None:
        if not isinstance(posterior.theory, LinearEmulator):
            raise LikelihoodError("only posteriors of a linear-decoder emulator can be compiled")
        gaussian = [like for like in posterior.likelihoods if isinstance(like, GaussianBandpowers)]
        tables = [like for like in posterior.likelihoods if isinstance(like, TabulatedSpectrum)]
        others = [like for like in posterior.likelihoods if like not in gaussian and like not in tables]
        if others:
            raise LikelihoodError(f"{others[0].info.name} cannot be folded")
        for like in tables:
            if like.pairs != ("ee",) or like.lmin < 2 or like.lmax > LOWL_EE_MAX:
                raise LikelihoodError(f"{like.info.name} reaches beyond the emulator's low-l EE")
        self.__dict__.update(copy.copy(posterior).__dict__)
        self.counts = EvaluationCounts()
        self._tables = tables
        self._folded = _fold(posterior.theory, gaussian) if gaussian else None
        self._assemble()
        self.fold_difference = self._measure_difference(posterior, n_check)

    def _assemble(self) -> None:
        """One matrix on the features: folded bandpowers first, low-l EE below."""
        theory: LinearEmulator = self.theory  # type: ignore[assignment]
        parts = [] if self._folded is None else [self._folded.matrix]
        self._n_folded = 0 if self._folded is None else len(self._folded.matrix)
        if self._tables:
            parts.append(theory.lowl_ee_coefficients)
        self._matrix = torch.cat(parts, dim=0)

    @property
    def n_directions(self) -> int:
        """Length of the folded residual."""
        return 0 if self._folded is None else len(self._folded.target)

    def to(self, device: torch.device | str) -> CompiledPosterior:
        """Return a copy that computes on `device`."""
        moved: CompiledPosterior = super().to(device)  # type: ignore[assignment]
        moved._tables = [like.to(device) for like in self._tables]
        moved._folded = None if self._folded is None else self._folded.to(device)
        moved._assemble()
        return moved

    def _log_like(self, theta: torch.Tensor) -> torch.Tensor:
        theory: LinearEmulator = self.theory  # type: ignore[assignment]
        point, nuisance = self._split(theta)
        product = self._matrix @ theory.features(point)  # shape: (rows, batch)
        total = torch.zeros(len(theta), dtype=theta.dtype, device=theta.device)
        if self._folded is not None:
            amplitude = theory.amplitude(point)
            residual = -self._folded.target[:, None]
            for i, powers in enumerate(self._folded.groups):
                scale = amplitude
                for name, power in powers:
                    scale = scale * nuisance[name] ** power
                rows = product[i * self.n_directions : (i + 1) * self.n_directions]
                residual = torch.addcmul(residual, rows, scale)
            total = total - 0.5 * (residual.square().sum(0) + self._folded.constant)
        if self._tables:
            ln_ee = product[self._n_folded :]
            dl = (torch.exp(ln_ee) * theory.scalar_amplitude(point)).T
            for like in self._tables:
                values = {name: nuisance[name] for name in like.info.nuisance}
                total = total + like.log_prob_of_multipoles(dl[:, like.lmin - 2 : like.lmax - 1], values)
        return total

    def _measure_difference(self, posterior: Posterior, n: int) -> float:
        """Largest difference of ln L from the unfolded path at draws from prior and box."""
        rng = np.random.default_rng(0)
        columns = []
        for name in self.parameters:
            low, high = self.theory.box.get(name, (-np.inf, np.inf))
            columns.append(np.clip(self.priors[name].sample(rng, n), low, high))
        theta = torch.from_numpy(np.stack(columns, axis=1)).to(self.device)
        unfolded = Posterior._log_like(posterior, theta)
        folded = self._log_like(theta)
        same = torch.isneginf(unfolded) & torch.isneginf(folded)
        difference = (folded - unfolded).abs() / unfolded.abs().clamp(min=1.0)
        return float(torch.where(same, 0.0, difference).max())


def compile_if_possible(posterior: Posterior) -> Posterior:
    """Fold a posterior's linear steps, or return it as it is and log why not."""
    try:
        return CompiledPosterior(posterior)
    except LikelihoodError as error:
        log.info("not folded: %s", error)
        return posterior
